"""The page for who comes from Dask speaks of all that is there, and of nothing that is not here.

Its examples are run by `test_docs.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import treadle
from treadle import Client

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "from-dask.md"
TEXT = PAGE.read_text(encoding="utf-8")
#: Lines of the tables that map a call: what it is in Dask, what it is here, what differs.
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("## A client, and its life")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| Dask |")
]

#: What a program of futures calls in Dask: of a client, a future, and of the module.
CALLS = """
    submit map gather scatter get compute persist cancel retry replicate rebalance
    who_has has_what nthreads ncores processing nbytes call_stack profile run run_on_scheduler
    publish_dataset get_dataset list_datasets unpublish_dataset datasets
    set_metadata get_metadata get_task_metadata upload_file register_plugin
    register_worker_callbacks log_event get_events subscribe_topic unsubscribe_topic
    forward_logging get_task_stream performance_report dump_cluster_state story
    benchmark_hardware get_scheduler_logs get_worker_logs recreate_error_locally
    recreate_task_locally retire_workers get_executor amm futures_of
    close shutdown restart restart_workers wait_for_workers scheduler_info dashboard_link
    write_scheduler_file get_versions as_current current default_client
    status done result exception traceback cancelled add_done_callback release key type
    wait as_completed fire_and_forget progress
    get_worker get_client worker_client secede rejoin Reschedule get_current_task set_resources
    annotate span print
    actor ActorFuture Lock Semaphore MultiLock Event Queue Variable Pub Sub
    workers allow_other_workers resources priority retries fifo_timeout scale adapt
    loop heartbeat_interval serializers direct_to_workers connection_limit Nanny
    SSHCluster LocalCluster asynchronous set_as_default security scheduler_file timeout name
"""


def test_the_guide_speaks_of_every_call() -> None:
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    words = set(re.findall(r"[A-Za-z_]+", " ".join(re.findall(r"`([^`]+)`", prose))))
    assert [call for call in CALLS.split() if call not in words] == []


def test_what_the_guide_offers_in_place_of_it_is_there() -> None:
    offered = [name for row in ROWS for name in re.findall(r"`([^`]+)`", row[1])]
    assert len(offered) > 60
    missing = []
    for name in offered:
        where, _, rest = name.partition(".")
        attribute = rest.partition("(")[0]
        home = {"client": Client, "Client": Client, "treadle": treadle}.get(where)
        if home is not None and attribute and not hasattr(home, attribute):
            missing.append(name)
    assert missing == []


def test_collections_of_dask_are_computed_by_a_client() -> None:
    delayed = pytest.importorskip("dask").delayed
    with Client(slots=2) as client:
        parts = [delayed(pow)(number, 2) for number in range(10)]
        assert delayed(sum)(parts).compute(scheduler=client) == 285


def test_each_row_says_where_or_that_it_is_not_here() -> None:
    assert [row for row in ROWS if len(row) != 3 or not row[1]] == []
