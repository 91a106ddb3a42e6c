"""One Ray task for each item: seeds of an arm side by side, shards of a crawl by the thousand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rankclip.errors import Preempted, RunError
from rankclip.launch.calls import Function, Json, dotted, guarded_call
from rankclip.launch.queue import Outcome, Polling, Queue, Submit
from rankclip.launch.session import session


def values(outcomes: Sequence[Outcome]) -> list[Any]:
    """The values of all items.

    Raises:
        Preempted: items were stopped, and none failed.
        RunError: an item failed; the message is its line, and counts the others.
    """
    errors = [outcome.error for outcome in outcomes if not outcome.ok and not outcome.preempted]
    stopped = [outcome.error for outcome in outcomes if outcome.preempted]
    if stopped and not errors:
        others = f" ({len(stopped) - 1} more stopped)" if len(stopped) > 1 else ""
        raise Preempted(f"{stopped[0]}{others}")
    if errors:
        others = f" ({len(errors) - 1} more failed)" if len(errors) > 1 else ""
        raise RunError(f"{errors[0]}{others}; what finished is kept, run the command again for the rest")
    return [outcome.value for outcome in outcomes]


def map_tasks(
    function: Function,
    items: Sequence[Json],
    *,
    cpus: float = 1,
    gpus: float = 0,
    slots: int | None = None,
    tries: int = 2,
    on_poll: Callable[[], None] = lambda: None,
    stopped: Callable[[], bool] = lambda: False,
    logs: Path = Path("work/logs"),
    every_s: float = 0.5,
) -> list[Outcome]:
    """Calls `function` once for each item, each in a fresh process; outcomes in the order of the items.

    An item that fails does not stop the others: its outcome carries one line, and the traceback lies in
    `logs`. Ctrl-C stops all of them.

    Args:
        function: "package.module:name", or a function that can be imported so; takes and returns plain JSON.
        items: plain JSON; the key "key" names an item in messages.
        cpus: CPU cores of a task; Ray sets OMP_NUM_THREADS to it.
        gpus: GPUs of a task.
        slots: the most tasks at once; by default as many as the resources allow.
        tries: how often an item is tried whose process or node dies, or is stopped though we are not.
        on_poll: called about each `every_s` seconds while tasks run, and once when all have ended.
        stopped: whether no more items are begun; what runs is waited for, and should end by itself.
        logs: folder for tracebacks.
        every_s: seconds between two calls of `on_poll`.

    Raises:
        RunError: Ray does not start, or the machine has fewer CPUs or GPUs than one task asks for.
    """
    if not items:
        return []
    target = dotted(function)
    queue = Queue(target, items, logs, tries, Polling(every_s, on_poll, stopped))
    with session():
        _fits(cpus, gpus)
        # max_calls: a process of its own for each item, since random state and threads are of a process
        submit = _submitter(target, num_cpus=cpus, num_gpus=gpus, max_calls=1)
        # one more than there is room for: a cluster that grows by what waits sees it
        outcomes = dict(queue.run(submit, lambda: slots or room(cpus, gpus) + 1))
    return [outcomes.get(index) or _not_begun(item) for index, item in enumerate(items)]


def _not_begun(item: Json) -> Outcome:
    return Outcome(
        item, error=f"{item.get('key', 'an item')}: was not begun before we stopped", preempted=True
    )


def stream_tasks(
    function: Function,
    items: Iterable[Json],
    *,
    slots: int | None = None,
    cpus: float = 1,
    tries: int = 3,
    ordered: bool = False,
    logs: Path = Path("work/logs"),
) -> Iterator[Outcome]:
    """Calls `function` for each of any number of items; yields outcomes as they come, or in order.

    Items are drawn no sooner than there is a slot for them, outcomes are not kept, and processes are used
    again. What runs is cancelled when the caller stops listening.

    Args:
        function: as in `map_tasks`; takes and returns what pickles.
        items: as in `map_tasks`; their values need only pickle.
        slots: the most tasks under way; by default twice what the nodes hold now, so that none waits for us.
        cpus: CPU cores of a task.
        tries: how often an item is tried whose process or node dies.
        ordered: in the order of the items; twice as many outcomes as slots then wait for a slow one at most.
        logs: folder for tracebacks.

    Raises:
        RunError: Ray does not start, or no node has so many CPUs.
    """
    target = dotted(function)
    queue = Queue(target, items, logs, tries)
    with session():
        _fits(cpus, 0)
        submit = _submitter(target, num_cpus=cpus, scheduling_strategy="SPREAD")
        most = (lambda: 2 * room(cpus)) if slots is None else (lambda: slots)
        if ordered:
            yield from _in_order(queue, submit, most)
            return
        with closing(queue.run(submit, most)) as found:
            for _, outcome in found:
                yield outcome


def _in_order(queue: Queue, submit: Submit, slots: Callable[[], int]) -> Iterator[Outcome]:
    held: dict[int, Outcome] = {}
    given = 0
    with closing(queue.run(submit, slots, lambda: given)) as found:
        for index, outcome in found:
            held[index] = outcome
            while given in held:
                given += 1
                yield held.pop(given - 1)


def _submitter(target: str, **options: Any) -> Submit:
    import ray

    task = ray.remote(max_retries=0, **options)(guarded_call)
    function = target.rpartition(":")[2]
    return lambda item: task.options(name=f"{function} {item.get('key', '')}").remote(target, item)


def room(cpus: float, gpus: float = 0) -> int:
    """How many tasks of so many CPUs and GPUs run at once on the nodes of now; call it in `session`."""
    import ray

    have = ray.cluster_resources()
    fits = [have.get("CPU", 1) / cpus, *([have.get("GPU", 0) / gpus] if gpus else [])]
    return max(1, int(min(fits)))


def has_gpus() -> bool:
    """Whether a node there is now has a GPU; call it within `session`."""
    import ray

    return bool(ray.cluster_resources().get("GPU", 0) >= 1)


def _fits(cpus: float, gpus: float) -> None:
    import ray

    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in have):
        largest = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in have)
        raise RunError(
            f"a run asks for {cpus:g} CPUs and {gpus:g} GPUs, the nodes have {largest}; ask for less"
        )
