"""The one table from Parsl's module paths and names to ours.

A row is a module of Parsl's public interface: where its names live here, and which names there
are. A name is looked up in the row's homes, in order; `name=other` gives its name here where that
differs. A name without a home in this version of Treadle stays in the table, so that asking for
it says so; the day a home has it, it is there, and nothing is to be done here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: The release of Parsl whose documented interface this is.
PARSL_VERSION: Final = "2026.10.26"


class Row(NamedTuple):
    """One module of Parsl's."""

    #: Our modules, in the order in which they are asked.
    homes: tuple[str, ...]
    #: Parsl's names, each with its name here.
    names: dict[str, str]


def _row(homes: str, names: str) -> Row:
    pairs = (name.partition("=") for name in names.split())
    return Row(tuple(homes.split()), {name: here or name for name, _, here in pairs})


_FACE = "treadle.compat.parsl._face"
_LOGGING = "treadle.compat.parsl._logging"
_SERIALIZE = "treadle.compat.parsl._serialize"
_TABLE = "treadle.compat.parsl._table"
_EXECUTORS = """
    ThreadPoolExecutor HighThroughputExecutor MPIExecutor WorkQueueExecutor FluxExecutor
    GlobusComputeExecutor TaskVineExecutor RadicalPilotExecutor
"""
_LAUNCHERS = """
    AprunLauncher GnuParallelLauncher JsrunLauncher MpiExecLauncher MpiRunLauncher SimpleLauncher
    SingleNodeLauncher SrunLauncher SrunMPILauncher WrappedLauncher
"""

#: Parsl's modules by their paths without the leading `parsl.`; the empty path is `parsl` itself.
TABLE: Final[dict[str, Row]] = {
    "": _row(
        f"{_FACE} {_LOGGING} {_TABLE} treadle.app.app treadle.config treadle.dataflow.dflow "
        "treadle.data_provider.files treadle.executors treadle.monitoring",
        "python_app bash_app join_app Config DataFlowKernel DataFlowKernelLoader File "
        "load clear dfk wait_for_current_tasks AUTO_LOGNAME set_stream_logger set_file_logger "
        "ThreadPoolExecutor HighThroughputExecutor WorkQueueExecutor RadicalPilotExecutor "
        "MonitoringHub VERSION=PARSL_VERSION",
    ),
    # --- apps
    "app": _row("", ""),
    "app.app": _row("treadle.app.app", "python_app bash_app join_app AppBase"),
    "app.bash": _row("treadle.app.bash", "BashApp remote_side_bash_executor"),
    "app.python": _row("treadle.app.python", "PythonApp timeout"),
    "app.errors": _row(
        "treadle.app.errors treadle.errors",
        "ParslError AppException AppBadFormatting BashExitFailure AppTimeout BashAppNoReturn "
        "MissingOutputs BadStdStreamFile RemoteExceptionWrapper wrap_error",
    ),
    "app.futures": _row(
        "treadle.app.futures treadle.data_provider.data_future",
        "DataFuture",
    ),
    # --- the face
    "concurrent": _row("treadle.concurrent", "ParslPoolExecutor=TreadlePoolExecutor"),
    "config": _row("treadle.config", "Config"),
    "configs": _row("", ""),
    "configs.local_threads": _row("treadle.compat.parsl._local_threads", "config"),
    "configs.htex_local": _row("treadle.compat.parsl._htex_local", "config"),
    "errors": _row(
        "treadle.errors",
        "ParslError ConfigurationError OptionalModuleMissing InternalConsistencyError "
        "NoDataFlowKernelError",
    ),
    "version": _row(_TABLE, "VERSION=PARSL_VERSION"),
    "utils": _row(
        "treadle.utils treadle.repr treadle.errors",
        "get_all_checkpoints get_last_checkpoint RepresentationMixin BadStdStreamFile "
        "get_std_fname_mode get_version wait_for_file time_limited_open wtime_to_minutes "
        "AtomicIDCounter Timer AutoCancelTimer setproctitle execute_wait "
        "sanitize_dns_label_rfc1123 sanitize_dns_subdomain_rfc1123",
    ),
    # --- the dataflow
    "dataflow": _row("", ""),
    "dataflow.dependency_resolvers": _row(
        "treadle.dataflow.dependency_resolvers",
        "DependencyResolver SHALLOW_DEPENDENCY_RESOLVER DEEP_DEPENDENCY_RESOLVER "
        "shallow_traverse_to_gather shallow_traverse_to_unwrap deep_traverse_to_gather "
        "deep_traverse_to_unwrap",
    ),
    "dataflow.dflow": _row(
        "treadle.dataflow.dflow treadle.dataflow.futures treadle.dataflow.states "
        "treadle.dataflow.taskrecord treadle.config treadle.errors",
        "DataFlowKernel DataFlowKernelLoader AppFuture States FINAL_STATES "
        "FINAL_FAILURE_STATES TaskRecord Config ConfigurationError NoDataFlowKernelError",
    ),
    "dataflow.errors": _row(
        "treadle.errors",
        "ParslError DataFlowException BadCheckpoint PropagatedException DependencyError JoinError",
    ),
    "dataflow.futures": _row("treadle.dataflow.futures", "AppFuture"),
    "dataflow.job_error_handler": _row("treadle.dataflow.job_error_handler", "JobErrorHandler"),
    "dataflow.memoization": _row(
        "treadle.dataflow.memoization treadle.errors",
        "id_for_memo make_hash Memoizer BasicMemoizer CheckpointCommand BadCheckpoint",
    ),
    "dataflow.rundirs": _row("treadle.dataflow.rundirs", "make_rundir"),
    "dataflow.states": _row("treadle.dataflow.states", "States FINAL_STATES FINAL_FAILURE_STATES"),
    "dataflow.taskrecord": _row("treadle.dataflow.taskrecord", "TaskRecord"),
    # --- files
    "data_provider": _row("", ""),
    "data_provider.data_manager": _row(
        "treadle.data_provider.data_manager treadle.data_provider.staging "
        "treadle.data_provider.files treadle.data_provider.file_noop treadle.data_provider.ftp "
        "treadle.data_provider.http treadle.data_provider.zip",
        "DataManager default_staging File Staging NoOpFileStaging FTPSeparateTaskStaging "
        "HTTPSeparateTaskStaging ZipFileStaging",
    ),
    "data_provider.file_noop": _row("treadle.data_provider.file_noop", "NoOpFileStaging"),
    "data_provider.files": _row("treadle.data_provider.files", "File"),
    "data_provider.ftp": _row(
        "treadle.data_provider.ftp", "FTPSeparateTaskStaging FTPInTaskStaging"
    ),
    "data_provider.globus": _row(
        "treadle.data_provider.globus", "GlobusStaging Globus get_globus cli_run"
    ),
    "data_provider.http": _row(
        "treadle.data_provider.http", "HTTPSeparateTaskStaging HTTPInTaskStaging"
    ),
    "data_provider.rsync": _row("treadle.data_provider.rsync", "RSyncStaging"),
    "data_provider.staging": _row("treadle.data_provider.staging", "Staging"),
    "data_provider.zip": _row(
        "treadle.data_provider.zip treadle.errors",
        "ZipFileStaging ZipAuthorityError zip_path_split",
    ),
    # --- executors
    "executors": _row("treadle.executors", _EXECUTORS),
    "executors.base": _row("treadle.executors.base", "ParslExecutor"),
    "executors.errors": _row(
        "treadle.errors",
        "ParslError ExecutorError BadStateException UnsupportedFeatureError "
        "InvalidResourceSpecification ScalingFailed BadMessage",
    ),
    "executors.execute_task": _row("treadle.executors.execute_task", "execute_task"),
    "executors.status_handling": _row(
        "treadle.executors.status_handling", "BlockProviderExecutor NoStatusHandlingExecutor"
    ),
    "executors.threads": _row("treadle.executors.threads", "ThreadPoolExecutor"),
    "executors.high_throughput": _row("", ""),
    "executors.high_throughput.executor": _row(
        "treadle.executors.high_throughput", "HighThroughputExecutor HTEXFuture"
    ),
    "executors.high_throughput.errors": _row(
        "treadle.errors",
        "ManagerLost WorkerLost VersionMismatch CommandClientTimeoutError CommandClientBadError",
    ),
    "executors.high_throughput.mpi_executor": _row("treadle.executors.mpi", "MPIExecutor"),
    "executors.high_throughput.manager_selector": _row(
        "treadle.executors.high_throughput",
        "ManagerSelector RandomManagerSelector BlockIdManagerSelector",
    ),
    "executors.workqueue": _row("treadle.executors", "WorkQueueExecutor"),
    "executors.workqueue.executor": _row("treadle.executors", "WorkQueueExecutor"),
    "executors.taskvine": _row(
        "treadle.executors", "TaskVineExecutor TaskVineFactoryConfig TaskVineManagerConfig"
    ),
    "executors.flux": _row("treadle.executors", "FluxExecutor"),
    "executors.radical": _row("treadle.executors", "RadicalPilotExecutor ResourceConfig"),
    "executors.globus_compute": _row("treadle.executors", "GlobusComputeExecutor"),
    # --- blocks
    "addresses": _row(
        "treadle.addresses",
        "address_by_route address_by_query address_by_hostname address_by_interface "
        "get_all_addresses get_any_address tcp_url",
    ),
    "jobs": _row("", ""),
    "jobs.error_handlers": _row(
        "treadle.dataflow.job_error_handler",
        "noop_error_handler simple_error_handler windowed_error_handler",
    ),
    "jobs.errors": _row("treadle.errors", "TooManyJobFailuresError"),
    "jobs.job_status_poller": _row("treadle.jobs", "JobStatusPoller"),
    "jobs.states": _row("treadle.providers.provider_base", "JobState JobStatus TERMINAL_STATES"),
    "jobs.strategy": _row("", "Strategy"),
    "launchers": _row("treadle.launchers", _LAUNCHERS),
    "launchers.base": _row("treadle.launchers.base", "Launcher"),
    "launchers.errors": _row("treadle.errors", "BadLauncher"),
    "launchers.launchers": _row("treadle.launchers", _LAUNCHERS),
    "providers": _row(
        "treadle.providers",
        "LocalProvider SlurmProvider PBSProProvider TorqueProvider LSFProvider CondorProvider "
        "GridEngineProvider KubernetesProvider AWSProvider GoogleCloudProvider AzureProvider",
    ),
    "providers.base": _row("treadle.providers.provider_base", "ExecutionProvider"),
    "providers.provider_base": _row(
        "treadle.providers.provider_base", "ExecutionProvider JobState JobStatus"
    ),
    "providers.local": _row("", ""),
    "providers.local.local": _row("treadle.providers.local", "LocalProvider"),
    "providers.errors": _row(
        "treadle.errors",
        "ExecutionProviderException ScaleOutFailed SchedulerMissingArgs ScriptPathError "
        "SubmitException",
    ),
    # --- the rest
    "log_utils": _row(
        f"{_LOGGING} treadle.log_config", "set_stream_logger set_file_logger DEFAULT_FORMAT"
    ),
    "logconfigs": _row("", ""),
    "logconfigs.base": _row("treadle.log_config", "LogConfig"),
    "logconfigs.file": _row("treadle.log_config", "FileLogging DEFAULT_FORMAT"),
    "logconfigs.json": _row("treadle.log_config", "JSONLogging"),
    "logconfigs.noop": _row("treadle.log_config", "NoopLogging"),
    "monitoring": _row("treadle.monitoring", "MonitoringHub"),
    "monitoring.monitoring": _row("treadle.monitoring", "MonitoringHub"),
    "monitoring.errors": _row("treadle.errors", "RadioRequiredError MonitoringRouterStartError"),
    "monitoring.message_type": _row("treadle.monitoring", "MessageType"),
    "process_loggers": _row("", "wrap_with_logs"),
    "serialize": _row(_SERIALIZE, "serialize deserialize pack_apply_message unpack_apply_message"),
    "serialize.errors": _row(
        "treadle.errors", "SerializationError DeserializationError DeserializerPluginError"
    ),
    "serialize.facade": _row(
        _SERIALIZE,
        "serialize deserialize pack_apply_message unpack_apply_message register_method_for_code "
        "register_method_for_data",
    ),
    "usage_tracking": _row("", ""),
    "usage_tracking.levels": _row(
        "treadle.usage_tracking.levels", "DISABLED LEVEL_1 LEVEL_2 LEVEL_3"
    ),
    "usage_tracking.usage": _row("treadle.usage_tracking", "UsageTracker"),
    "usage_tracking.api": _row("", "UsageInformation get_parsl_usage"),
}
