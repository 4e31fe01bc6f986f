"""Launchers that need no other program."""

from __future__ import annotations

from treadle.launchers.base import Launcher


class SimpleLauncher(Launcher):
    """The command as it is: it takes care of nodes and copies itself, or there is one of each."""

    def __call__(
        self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = ""
    ) -> str:
        """The command."""
        return command


class WrappedLauncher(Launcher):
    """The command behind other words, such as `docker run image`.

    Args:
        prepend: what stands before the command.
        debug: accepted; there is nothing to say.
    """

    def __init__(self, prepend: str, debug: bool = True) -> None:
        super().__init__(debug=debug)
        self.prepend = prepend

    def __call__(
        self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = ""
    ) -> str:
        """The words, then the command."""
        return f"{self.prepend} {command}"


class SingleNodeLauncher(Launcher):
    """All copies of the command on the node where the script runs, at once.

    Args:
        debug: the script says on standard error what it does.
        fail_on_any: the script fails if one copy does; else only if all do.
    """

    def __init__(self, debug: bool = True, fail_on_any: bool = False) -> None:
        super().__init__(debug=debug)
        self.fail_on_any = fail_on_any

    def __call__(
        self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = ""
    ) -> str:
        """Lines for bash that start the copies, wait for all, and count those that failed.

        The exit code is that of a copy that failed. What a copy is told by a signal it is told
        itself: signals go to the job's process group.
        """
        copies = tasks_per_node * nodes_per_block
        cores = "export CORES=$(getconf _NPROCESSORS_ONLN)"
        if copies == 1:
            # The shell waits for it in the foreground, and its exit code is the script's.
            return f"{cores}\n{command}\n"
        most = 0 if self.fail_on_any else copies - 1
        say = 'echo "copy $copy: exit code $code" >&2' if self.debug else ":"
        return f"""{cores}
treadle_copy() {{
{command}
}}
treadle_pids=()
for copy in $(seq 1 {copies}); do
    treadle_copy &
    treadle_pids+=($!)
done
failed=0 last=0 copy=0
for pid in "${{treadle_pids[@]}}"; do
    copy=$((copy + 1))
    code=0
    wait "$pid" || code=$?
    {say}
    if [ "$code" -ne 0 ]; then
        failed=$((failed + 1)) last=$code
    fi
done
if [ "$failed" -gt {most} ]; then
    exit "$last"
fi
exit 0
"""
