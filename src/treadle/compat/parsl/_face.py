"""What stands at the top of Parsl: the functions of the default kernel."""

from __future__ import annotations

from treadle.dataflow.dflow import DataFlowKernelLoader

#: The path of a standard stream is to be made up by the kernel.
AUTO_LOGNAME = -1

load = DataFlowKernelLoader.load
clear = DataFlowKernelLoader.clear
dfk = DataFlowKernelLoader.dfk
wait_for_current_tasks = DataFlowKernelLoader.wait_for_current_tasks
