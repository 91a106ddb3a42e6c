"""The look of the page: its style sheet and the colours of the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankclip.report.ablation import Roles

OTHERS = (
    *("#2a9d8f", "#9a62c7", "#c4526b", "#6f8f2f", "#3aa0c9", "#a67c52"),
    *("#e377a8", "#b8a000", "#5b5fa8"),
)

CSS = """
:root{color-scheme:light dark;--paper:#fff;--panel:#f6f7f9;--ink:#1b2027;--soft:#5d6673;--grid:#dfe3e8;
--accent:#1d66c9;--warn:#fdf3dc;--warn-ink:#6b4a00;--warn-edge:#e8c87a}
@media(prefers-color-scheme:dark){:root{--paper:#14171c;--panel:#1c2027;--ink:#e6e9ee;--soft:#98a2b0;--grid:#343b45;
--accent:#6aa9ff;--warn:#33290f;--warn-ink:#f2d48a;--warn-edge:#6b5620}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 -apple-system,"Segoe UI",
Roboto,"Helvetica Neue","Liberation Sans",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1080px;margin:0 auto;padding:44px 28px 80px}
header p{margin:0}
.kicker{color:var(--soft);font-size:13px;letter-spacing:.01em}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;font-weight:680;margin:6px 0 10px;text-wrap:balance}
h2{font-size:20px;letter-spacing:-.01em;margin:52px 0 4px;padding-top:18px;border-top:1px solid var(--grid)}
h3{font-size:15px;margin:28px 0 6px}
p{margin:8px 0;max-width:78ch}
.question{color:var(--soft);font-size:17px;max-width:70ch}
.banner{margin:22px 0 0;padding:11px 16px;background:var(--warn);color:var(--warn-ink);
border:1px solid var(--warn-edge);border-radius:8px;max-width:none}
header .headline{font-size:17px;line-height:1.5;margin:12px 0 10px;max-width:92ch;text-wrap:pretty}
header .verdict{font-size:22px;line-height:1.4;font-weight:600;margin:26px 0 0;max-width:70ch;
text-wrap:pretty}
header .tiles+p{margin-top:10px}
.soft,figcaption{color:var(--soft);font-size:13.5px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin:26px 0 0}
.tile{background:var(--panel);border-radius:10px;padding:14px 18px 13px;overflow-wrap:anywhere}
.tile b{display:block;font-size:30px;font-weight:640;line-height:1.25;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.tile b small{font-size:17px;font-weight:500;color:var(--soft)}
td:has(>.dot){min-width:14ch;overflow-wrap:anywhere}
.dot{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:7px}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;margin:14px 0 2px;font-size:13.5px}
.scroll{overflow-x:auto;margin:14px 0 6px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{font-weight:600;text-align:left;color:var(--soft);border-bottom:1px solid var(--ink);white-space:nowrap;
vertical-align:bottom}
th,td{padding:4px 12px 4px 0}
td{vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}
td.sure{font-weight:680}
td.alone{text-decoration:underline dotted}
.banner ul{margin:4px 0 0;padding-left:20px}
tbody tr:first-child>*{padding-top:8px}
tbody+tbody tr:first-child>*{border-top:1px solid var(--grid)}
tbody tr:last-child>*{padding-bottom:8px}
tbody.lead{background:var(--panel)}
tbody.lead th:first-child{padding-left:10px}
tbody th{color:var(--ink);border:0;vertical-align:top;min-width:15ch;white-space:normal;
overflow-wrap:anywhere}
tbody th small{display:block;font-weight:400;color:var(--soft)}
.thin tbody tr>*{border-top:1px solid var(--grid);padding-top:5px!important;padding-bottom:5px!important}
.bar{display:block;height:9px;border-radius:2px;background:var(--soft);min-width:2px}
.bar.ok{background:var(--accent)}
td.wide{width:46%;vertical-align:middle}
.check{margin:14px 0 0;padding:10px 14px;background:var(--panel);border-radius:8px;max-width:none;
font-variant-numeric:tabular-nums}
figure{margin:16px 0 0}
.plot{overflow-x:auto}.plot svg{min-width:600px}
svg{display:block;width:100%;height:auto;overflow:visible;stroke-linejoin:round}
svg text{font-family:inherit!important}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(112px,1fr));gap:16px 14px;
margin:18px 0 0}
.sheet figure{margin:0;break-inside:avoid}
.sheet img{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:var(--panel);
border-radius:6px}
.sheet figure>div{display:grid;place-items:center;aspect-ratio:1;background:var(--panel);border-radius:6px;
color:var(--soft);font-size:12px}
.sheet figcaption{font-size:12px;line-height:1.35;margin-top:5px;overflow-wrap:anywhere;display:-webkit-box;
-webkit-line-clamp:4;-webkit-box-orient:vertical;overflow:hidden}
details{margin:14px 0 0}
summary{cursor:pointer;color:var(--accent);font-size:13.5px}
code{font:12.5px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 22px;margin:14px 0;font-size:13.5px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:640px){main{padding:26px 16px 50px}h1{font-size:25px}header .verdict{font-size:19px}}
@media print{main{max-width:none;padding:0}body{font-size:11.5px}h2{break-after:avoid;margin-top:30px}
.tile,.check,.banner,tbody.lead,.bar{-webkit-print-color-adjust:exact;print-color-adjust:exact}
tbody,figure,.tile{break-inside:avoid}.sheet{grid-template-columns:repeat(8,1fr)}}
"""


def arm_colours(arms: Sequence[str], roles: Roles) -> Mapping[str, str]:
    """A colour for each arm, in the order of the study: those with a role always have the same one."""
    known = {roles.baseline: "#7d8896", roles.control or "": "#d98324", roles.treatment or "": "#2f7de1"}
    rest = [arm for arm in arms if arm not in known]
    return {arm: known.get(arm) or OTHERS[rest.index(arm) % len(OTHERS)] for arm in arms}
