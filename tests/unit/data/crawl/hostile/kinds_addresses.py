"""Ways to send a crawler where it must not go: by URL, by redirect, by name."""

from __future__ import annotations

import socket

from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile.kinds import Kind, answer
from tests.unit.data.crawl.hostile.server import Script

BLOCKED, SCHEME = Reason.BLOCKED_ADDRESS, Reason.BAD_SCHEME


def to(location: str) -> Script:
    return answer(302, b"moved", Location=location)


FORBIDDEN = {
    "loopback": "http://127.0.0.1/secret/",
    "loopback_port": "http://127.0.0.1:8080/secret/",
    "loopback_decimal": "http://2130706433/secret/",
    "loopback_hex": "http://0x7f000001/secret/",
    "loopback_octal": "http://0177.0.0.1/secret/",
    "loopback_short": "http://127.1/secret/",
    "loopback_v6": "http://[::1]/secret/",
    "loopback_mapped": "http://[::ffff:127.0.0.1]/secret/",
    "loopback_name": "http://localhost./secret/",
    "zero": "http://0.0.0.0/secret/",
    "private_10": "http://10.1.2.3/secret/",
    "private_172": "http://172.16.0.1/secret/",
    "private_192": "http://192.168.0.1/secret/",
    "carrier": "http://100.64.0.1/secret/",
    "link_local": "http://169.254.1.1/secret/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata_v6": "http://[fd00:ec2::254]/latest/meta-data/",
    "metadata_mapped": "http://[::ffff:a9fe:a9fe]/latest/meta-data/",
    "metadata_azure": "http://168.63.129.16/machine/",
    "multicast": "http://224.0.0.1/secret/",
    "nat64": "http://[64:ff9b::7f00:1]/secret/",
    "userinfo": "http://www.example@127.0.0.1/secret/",
    "userinfo_port": "http://www.example:80@127.0.0.1/secret/",
    "mail": "http://www.example:25/secret/",
    "shell": "https://www.example:22/secret/",
}
SCHEMES = {
    "file": "file:///etc/hostname",
    "data": "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    "ftp": "ftp://www.example/1.jpg",
    "gopher": "gopher://www.example:70/1",
    "javascript": "javascript:alert(1)",
}
NAMES = {
    "loopback": (("127.0.0.1",),),
    "private": (("10.0.0.5",),),
    "metadata": (("169.254.169.254",),),
    "v6_only": (("fd12:3456::1",),),
    "mixed": (("93.184.216.34", "10.0.0.5"),),
    "mixed_v6": (("93.184.216.34", "::1"),),
    "six_to_four": (("2002:7f00:1::",),),
    "scoped": (("fe80::1%eth0",),),
    "at_second_look_up": (socket.EAI_AGAIN, ("127.0.0.1",)),
}

KINDS = (
    *(Kind(f"url_{name}", BLOCKED, url=url + "{n}") for name, url in FORBIDDEN.items()),
    *(Kind(f"redirect_{name}", BLOCKED, to(url)) for name, url in FORBIDDEN.items()),
    *(Kind(f"url_{name}", SCHEME, url=url) for name, url in SCHEMES.items()),
    *(Kind(f"redirect_{name}", SCHEME, to(url)) for name, url in SCHEMES.items()),
    *(Kind(f"name_{name}", BLOCKED, names=answers) for name, answers in NAMES.items()),
    # the second look-up would give a private address; what was checked is what is connected to
    Kind("name_rebinding", Reason.OK, names=(("93.184.215.14",), ("10.0.0.5",))),
    Kind("name_unknown", Reason.DNS, names=(socket.EAI_NONAME,)),
    Kind("name_busy", Reason.DNS, names=(socket.EAI_AGAIN,)),
    Kind("name_busy_once", Reason.OK, names=(socket.EAI_AGAIN, ("93.184.215.15",))),
    Kind("name_hangs", Reason.DNS, names=(30.0,)),
    Kind("name_too_long", Reason.DNS, url="http://" + "x" * 70 + ".example/{n}"),
    Kind("redirect_backslash", BLOCKED, to("http://127.0.0.1\\@www.example/secret/")),
    Kind("redirect_relative_host", BLOCKED, to("//169.254.169.254/latest/")),
    Kind("redirect_to_trap", BLOCKED, to("http://name_private.example/secret/")),
    Kind("redirect_loop", Reason.TOO_MANY_REDIRECTS, to("/redirect_loop/again.jpg")),
    Kind("redirect_to_itself", Reason.TOO_MANY_REDIRECTS, to("")),
    Kind("redirect_half_host", Reason.OTHER, to("http://[half")),
    Kind("redirect_no_host", Reason.OTHER, to("https:///1.jpg")),
    Kind("redirect_bad_port", Reason.OTHER, to("http://www.example:99999/1.jpg")),
    Kind("redirect_nowhere", Reason.HTTP_OTHER, answer(302, b"nowhere")),
    Kind("redirect_long", Reason.MALFORMED_ANSWER, to("/" + "x" * 70_000)),
    Kind("redirect_fine", Reason.OK, to("/found/redirected.jpg")),
    Kind("redirect_utf8", Reason.OK, to("/found/\u00fc.jpg")),
)
