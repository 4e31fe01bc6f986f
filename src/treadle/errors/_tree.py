"""Errors of programs, dataflow, executors, bytes and files; see the package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from concurrent.futures import Future


class TreadleError(Exception):
    """Root of all errors that Treadle raises."""


class ConfigurationError(TreadleError):
    """The configuration or an option cannot work; nothing has been started."""


class OptionalModuleMissing(TreadleError):
    """A feature needs packages that are not installed."""

    def __init__(self, module_names: Sequence[str], reason: str, *, extra: str | None = None):
        super().__init__(module_names, reason)
        self.module_names = list(module_names)
        self.reason = reason
        self.extra = extra

    def __str__(self) -> str:
        what = " ".join(self.module_names)
        how = f'"treadle[{self.extra}]"' if self.extra else what
        return f"{self.reason} needs {what}, which is not installed; pip install {how}"


class InternalError(TreadleError):
    """A bug of Treadle's own; the text has what is needed to report it."""


InternalConsistencyError = InternalError


class NoDataFlowKernelError(TreadleError):
    """No kernel is loaded, or the one asked for has been cleaned up."""


class KernelForked(TreadleError):
    """This process was forked from the one that owns the kernel; only the parent can use it."""


class EngineCrashed(TreadleError):
    """The engine thread ended unexpectedly; its cause is chained."""


class IllegalTransition(InternalError):
    """A task was told to take a step that its state does not allow.

    Attributes:
        task_id: the task.
        state: name of the state it was in.
        step: what it was told.
        story: its transitions so far, oldest first, one line each.
    """

    def __init__(
        self, task_id: int | str, state: str, step: str, allowed: Iterable[str], story: str
    ):
        super().__init__(task_id, state, step, tuple(allowed), story)
        self.task_id = task_id
        self.state = state
        self.step = step
        self.allowed = tuple(allowed)
        self.story = story

    def __str__(self) -> str:
        allowed = ", ".join(self.allowed) or "nothing: the state is final"
        return (
            f"task {self.task_id} is {self.state} and cannot take the step {self.step!r} "
            f"(allowed: {allowed})\n{self.story}"
        )


# --- the dataflow ------------------------------------------------------------------------------


class DataFlowException(TreadleError):
    """The dataflow could not go on; the apps themselves are not to blame."""


class BadCheckpoint(DataFlowException):
    """A checkpoint cannot be read, or must not be trusted."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class PropagatedException(DataFlowException):
    """A task failed because other tasks failed.

    Args:
        dependent_exceptions_tids: pairs of an exception and a description of its task.
        task_id: the task that could not go on.
    """

    _FAILURE = "Failure"

    def __init__(
        self,
        dependent_exceptions_tids: Sequence[tuple[BaseException, str]],
        task_id: int | None,
    ):
        super().__init__(dependent_exceptions_tids, task_id)
        self.dependent_exceptions_tids = list(dependent_exceptions_tids)
        self.task_id = task_id
        self._path, self.__cause__ = _root_cause(self.dependent_exceptions_tids)

    def __str__(self) -> str:
        others = len(self.dependent_exceptions_tids) - 1
        more = f" (+ {others} other{'s' if others > 1 else ''})" if others > 0 else ""
        cause = "" if self.__cause__ is None else f": {_one_line(self.__cause__)}"
        via = " <- ".join(self._path) or "no known task"
        return (
            f"{self._FAILURE} failure for task {self.task_id}. "
            f"The representative cause is via {via}{more}{cause}"
        )

    def __repr__(self) -> str:
        # Not from the arguments: they hold the exceptions of all hops, each inside the next.
        return f"{type(self).__name__}({str(self)!r})"


class DependencyError(PropagatedException):
    """Dependencies of this task failed, so it was never launched; the root cause is chained."""

    _FAILURE = "Dependency"


class JoinError(PropagatedException):
    """Tasks that a join app waited for failed; the root cause is chained."""

    _FAILURE = "Join"


#: A chain of ten thousand failed dependents names its first and its last hops only.
_MAX_HOPS = 8


def _root_cause(
    failures: Sequence[tuple[BaseException, str]],
) -> tuple[list[str], BaseException | None]:
    """Follow the first failure of each hop down to the exception that started it all."""
    path: list[str] = []
    while failures:
        cause, description = failures[0]
        path.append(description)
        # By its type: an exception of the user's may answer anything when asked for its class.
        hop = cast("PropagatedException", cause)
        if not issubclass(type(cause), PropagatedException):
            return path, cause
        # Each hop already knows the way to its root: one step, not a walk, so that a chain of
        # n failures costs n and not n * n.
        rest = hop._path
        if len(path) + len(rest) > _MAX_HOPS:
            rest = ["...", *rest[-(_MAX_HOPS - 2) :]] if rest[:1] != ["..."] else rest
        return path + rest, hop.__cause__
    return path, None


def _one_line(error: BaseException, limit: int = 200) -> str:
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - the text of a user's exception is user code
        text = "(its text cannot be shown)"
    name = type(error).__name__
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return f"{name}: {text}" if text else name


class CheckpointWriteError(DataFlowException):
    """Records could not be written to a checkpoint; what they stand for would run again.

    Attributes:
        directory: the checkpoint's directory.
        reason: what the file system said.
    """

    def __init__(self, directory: str, reason: str):
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        return f"the checkpoint {self.directory} was not written: {self.reason}"


# --- apps --------------------------------------------------------------------------------------


class AppException(TreadleError):
    """An app did not do what its kind of app must do."""


class BashExitFailure(AppException):
    """The command of a bash app ended with an exit code other than zero."""

    def __init__(self, app_name: str, exitcode: int):
        super().__init__(app_name, exitcode)
        self.app_name = app_name
        self.exitcode = exitcode

    def __str__(self) -> str:
        if self.exitcode < 0:
            how = f"was ended by signal {-self.exitcode}"
        else:
            how = f"failed with unix exit code {self.exitcode}"
        return f"bash_app {self.app_name} {how}"


class AppTimeout(AppException):
    """An app ran longer than its walltime."""


class BashAppNoReturn(AppException):
    """The body of a bash app returned something other than a command line."""


class AppBadFormatting(TreadleError):
    """The command line of a bash app could not be formatted."""


class MissingOutputs(TreadleError):
    """A bash app ended well but did not write all the files it had promised."""

    def __init__(self, reason: str, outputs: Sequence[object]):
        super().__init__(reason, outputs)
        self.reason = reason
        self.outputs = list(outputs)

    def __str__(self) -> str:
        return f"{self.reason}: {', '.join(str(f) for f in self.outputs)}"


class BadStdStreamFile(TreadleError):
    """The file named as stdout or stderr of an app cannot be used."""


class TaskCallError(TreadleError):
    """An app was called in a way that cannot be run; the reason is chained."""


# --- executors ---------------------------------------------------------------------------------


class ExecutorError(TreadleError):
    """An executor cannot do what it was asked to do."""

    def __init__(self, executor: object, reason: object):
        super().__init__(executor, reason)
        self.executor = executor
        self.reason = reason

    def __str__(self) -> str:
        label = getattr(self.executor, "label", self.executor)
        return f"executor {label}: {self.reason}"

    def __repr__(self) -> str:
        # Not from the arguments: an executor's own repr has a line for each of its options.
        return f"{type(self).__name__}({str(self)!r})"


class BadStateException(ExecutorError):
    """The executor is irrecoverably bad; all its tasks fail with this."""

    def __init__(self, executor: object, exception: BaseException):
        super().__init__(executor, exception)
        self.__cause__ = exception


class UnsupportedFeatureError(ExecutorError):
    """The executor does not have the feature."""

    def __init__(self, feature: str, current_executor: object, target_executor: object = None):
        hint = f"; {target_executor} has it" if target_executor else ""
        super().__init__(current_executor, f"it does not support {feature}{hint}")
        self.feature = feature
        self.current_executor = current_executor
        self.target_executor = target_executor


class InvalidResourceSpecification(ExecutorError):
    """The resource specification has keys that the executor cannot honour."""

    def __init__(self, invalid_keys: Iterable[str], message: str = "", executor: object = None):
        self.invalid_keys = set(invalid_keys)
        self.message = message
        keys = ", ".join(repr(k) for k in sorted(self.invalid_keys))
        super().__init__(
            executor if executor is not None else "?",
            f"invalid resource specification: {keys}. {message}".rstrip(),
        )


class ScalingFailed(ExecutorError):
    """The executor could not start the blocks it was asked for."""


class UnknownExecutor(ConfigurationError):
    """An app asks for an executor that the kernel does not have."""

    def __init__(self, label: str, known: Iterable[str]):
        self.label = label
        self.known = tuple(known)
        have = ", ".join(repr(k) for k in self.known) or "none"
        super().__init__(
            f"no executor is labelled {label!r} (this kernel has: {have}); add it to "
            f"Config(executors=[...]) or use executors='all'"
        )


# --- bytes -------------------------------------------------------------------------------------


class SerializationError(TreadleError):
    """An object cannot be pickled; the text names the path to the part that cannot."""

    def __init__(self, what: str, path: str = "", reason: str = ""):
        super().__init__(what, path, reason)
        self.what = what
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        where = f": {self.path}" if self.path else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.what} cannot be pickled{where}{why}"


class DeserializationError(TreadleError):
    """Bytes could not be turned back into an object; nothing was lost but this object."""


class WireError(TreadleError):
    """A peer sent what is no message, or one that it may not send; or a message cannot be sent.

    Attributes:
        reason: what is wrong, in at most 300 characters; never what was in the message.
    """

    _LONGEST = 300

    def __init__(self, reason: str):
        self.reason = (
            reason if len(reason) <= self._LONGEST else reason[: self._LONGEST - 3] + "..."
        )
        super().__init__(self.reason)

    def __str__(self) -> str:
        return self.reason


class MemoKeyError(TreadleError):
    """A memo key cannot be computed; the text names the argument and what to register."""


# --- files -------------------------------------------------------------------------------------


class StagingError(TreadleError):
    """A file could not be brought in or taken out."""


class NoStagingProvider(StagingError, ValueError):
    """No staging provider of the executor takes a file."""


class ZipAuthorityError(StagingError):
    """A zip: URL has a host in it; zip files must be local."""

    def __init__(self, file: object):
        super().__init__(f"{file}: a zip: URL names a local file and takes no host")
        self.file = file


ParslError = TreadleError


def describe_failed(future: Future[object]) -> str:
    """Name a failed dependency for people: its task where it has one, else the future itself."""
    tid = getattr(future, "tid", None)
    if tid is None:
        return repr(future)
    kind = "DataFuture from task" if hasattr(type(future), "filepath") else "task"
    return f"{kind} {tid}"


# --- what was raised in another process --------------------------------------------------------


class RemoteTraceback(Exception):
    """The traceback of another process, as text; the cause of what is raised here for it."""

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}\n"""'


class RemoteError(TreadleError):
    """An exception of another process that cannot come here itself: its words in its place.

    Attributes:
        type_name: the name of its class there.
        text: what it said.
    """

    def __init__(self, type_name: str, text: str, notes: Iterable[str] = ()):
        super().__init__(type_name, text)
        self.type_name = type_name
        self.text = text
        for note in notes:
            self.add_note(note)

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}" if self.text else self.type_name
