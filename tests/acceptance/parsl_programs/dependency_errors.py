"""A failed task fails what depends on it, and the error says where it began."""

import parsl
from parsl import python_app
from parsl.dataflow.dflow import DataFlowKernel
from parsl.dataflow.errors import DataFlowException, DependencyError, PropagatedException
from parsl.dataflow.states import FINAL_FAILURE_STATES, FINAL_STATES, States
from parsl.errors import ParslError


@python_app
def fails():
    raise ZeroDivisionError("the root")


@python_app
def follows(*args, inputs=()):
    raise AssertionError("never runs")


with parsl.load() as kernel:
    assert isinstance(kernel, DataFlowKernel)
    root = fails()
    child = follows(root)
    grandchild = follows(1, child)
    listed = follows(inputs=[root, 3])

    assert isinstance(root.exception(), ZeroDivisionError)
    error = child.exception()
    assert isinstance(error, DependencyError)
    assert isinstance(error, (PropagatedException, DataFlowException, ParslError))
    assert [type(e) for e, _ in error.dependent_exceptions_tids] == [ZeroDivisionError]
    assert error.task_id == child.tid
    assert f"task {root.tid}" in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)

    deep = grandchild.exception()
    assert isinstance(deep, DependencyError)
    assert isinstance(deep.__cause__, ZeroDivisionError)
    assert f"task {child.tid}" in str(deep)
    assert f"task {root.tid}" in str(deep)
    assert isinstance(listed.exception(), DependencyError)

    assert child.task_status() == "dep_fail"
    assert root.task_status() == "failed"
    assert States.dep_fail in FINAL_FAILURE_STATES
    assert States.exec_done in FINAL_STATES
    assert States.exec_done not in FINAL_FAILURE_STATES

    raised = None
    try:
        grandchild.result()
    except DependencyError as e:
        raised = e
    assert raised is deep
print("OK")
