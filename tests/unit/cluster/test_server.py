"""The scheduler's shell: who is heard, who is answered, and what goes along."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.cluster.server_world import (
    DIGEST,
    ServerWorld,
    finished,
    registration,
    spec,
    submit,
)
from treadle import wire
from treadle.wire import Code, Done, Run, TaskSpec, World, task_id

CODE = Code(DIGEST, "f", b"pickled")
HERE = World(("/a", "/b"), "/home", 0o022, "main.py")


@pytest.fixture
def world():
    return ServerWorld()


def test_a_task_goes_to_the_worker_and_its_result_to_the_client(world):
    client, worker = world.client(), world.worker()
    client.say(CODE, submit(1))
    (run,) = worker.heard(Run)
    worker.say(finished(run))
    (done,) = client.heard(Done)
    assert (done.id, done.inline, done.holders) == (task_id(1, 1), b"4", ("w",))


def test_code_goes_before_the_first_run_that_names_it_and_once(world):
    worker = world.worker(slots=4)
    client = world.client()
    client.say(CODE)
    client.say(submit(1, 2, 3))
    kinds = [type(m) for m in worker.said if type(m) in (Code, Run)]
    assert kinds[:2] == [Code, Run]
    assert kinds.count(Code) == 1


def test_each_worker_is_sent_the_code(world):
    one, two = world.worker("one", slots=1), world.worker("two", slots=1)
    client = world.client()
    client.say(CODE, submit(1, 2))
    assert one.heard(Code) == two.heard(Code) == [CODE]


def test_code_that_comes_after_a_worker_registered_anew_is_sent_again(world):
    worker = world.worker()
    client = world.client()
    client.say(CODE, submit(1))
    worker.lose()
    again = world.worker(number=2)
    assert [type(m) for m in again.said if type(m) in (Code, Run)] == [Code, Run]


def test_a_task_without_code_or_with_a_spec_that_is_none_goes_as_it_is(world):
    worker = world.worker(slots=2)
    client = world.client()
    tasks = (
        TaskSpec(task_id(1, 1), "f", spec(b"", b"function and all")),
        TaskSpec(task_id(1, 2), "g", b"\xc1 no spec"),
    )
    client.say(wire.Submit(tasks))
    assert [run.run_spec for run in worker.heard(Run)] == [task.run_spec for task in tasks]
    assert worker.heard(Code) == []


def test_code_that_comes_late_is_sent_with_the_next_task(world):
    worker = world.worker(slots=2)
    client = world.client()
    client.say(submit(1))
    assert worker.heard(Code) == []
    client.say(CODE, submit(2))
    assert worker.heard(Code) == [CODE]


def test_workers_live_in_the_world_of_the_first_client(world):
    early = world.worker("early")
    client = world.client()
    client.say(HERE)
    late = world.worker("late")
    client.say(submit(1, 2))
    for worker in (early, late):
        assert worker.heard(World) == [HERE]
        kinds = [type(m) for m in worker.said]
        assert kinds.index(World) < kinds.index(Run)


def test_a_second_clients_modules_are_found_too(world):
    first, second = world.client("one", 1), world.client("two", 2)
    worker = world.worker(slots=2)
    first.say(HERE, submit(1))
    second.say(World(("/b", "/c"), "/elsewhere", 0, "other.py"), submit(1, session=2))
    assert worker.heard(World)[-1] == World(("/a", "/b", "/c"), "/home", 0o022, "main.py")


def test_a_world_without_news_is_not_sent_again(world):
    first, second = world.client("one", 1), world.client("two", 2)
    worker = world.worker(slots=2)
    first.say(HERE, submit(1))
    second.say(World(("/b",), "/elsewhere", 0, ""), submit(1, session=2))
    assert worker.heard(World) == [HERE]


def test_workers_are_located_as_they_registered(world):
    world.worker("w")
    client = world.client()
    (located,) = client.say(wire.Locate(7, ("w", "strange")))
    assert located == wire.Located(
        7, (wire.Place("w", "host", ("unix:/w",)), wire.Place("strange", "", ()))
    )


def test_a_worker_without_a_link_is_not_located(world):
    worker, other = world.worker("w"), world.worker("other")
    worker.lose()
    (located,) = other.say(wire.Locate(1, ("w",)))
    assert located.places == (wire.Place("w", "", ()),)


def test_what_a_task_prints_is_told_to_its_client_alone(world):
    one, two = world.client("one", 1), world.client("two", 2)
    worker = world.worker()
    printed = wire.Printed(task_id(2, 5), "f", 1, "hello\n")
    worker.say(printed)
    assert one.heard(wire.Printed) == []
    assert two.heard(wire.Printed) == [printed]


def test_what_a_task_with_a_chosen_key_prints_is_told_to_who_wants_it(world):
    client, other = world.client("one", 1), world.client("two", 2)
    worker = world.worker()
    client.say(wire.Submit((TaskSpec("mine", "f", spec()),)))
    worker.say(wire.Printed("mine", "f", 1, "hello\n"))
    assert len(client.heard(wire.Printed)) == 1
    assert other.heard(wire.Printed) == []


def test_what_a_forgotten_task_has_printed_is_told_to_the_only_client(world):
    client = world.client("one", 1)
    worker = world.worker()
    worker.say(wire.Printed("gone", "f", 1, "hello\n"))
    assert len(client.heard(wire.Printed)) == 1
    world.client("two", 2)
    worker.say(wire.Printed("gone", "f", 1, "hello\n"))
    assert len(client.heard(wire.Printed)) == 1


def test_what_the_task_of_a_task_prints_is_told_to_who_has_submitted_the_first(world):
    client, other = world.client("one", 1), world.client("two", 2)
    worker, inside = world.worker(), world.client("w/task-1-ab", 3)
    client.say(wire.Submit((TaskSpec("outer", "f", spec()),)))
    inside.say(wire.Submit((TaskSpec("inner", "f", spec()),), parent="outer"))
    deeper = world.client("w/task-2-cd", 4)
    deeper.say(wire.Submit((TaskSpec(task_id(4, 0), "f", spec()),), parent="inner"))
    worker.say(wire.Printed("inner", "f", 1, "hello\n"))
    worker.say(wire.Printed(task_id(4, 0), "f", 1, "hello\n"))
    assert len(client.heard(wire.Printed)) == 2
    assert [link.heard(wire.Printed) for link in (other, inside, deeper)] == [[], [], []]


def test_a_new_link_of_a_peer_replaces_the_old_one(world):
    client = world.client()
    old = world.worker("w", epoch=1)
    client.say(submit(1))
    new = world.worker("w", epoch=1, number=2)
    assert old.closed == "another link of the same name has come"
    assert new.heard(wire.Registered)
    old.lose()
    assert world.server.machine.books.workers["w"].linked


def test_the_machine_hears_of_a_lost_link_before_a_new_one_registers(world, monkeypatch):
    events = []
    handle = world.server.machine.handle

    def spy(event, *, source, now):
        events.append(event)
        return handle(event, source=source, now=now)

    monkeypatch.setattr(world.server.machine, "handle", spy)
    world.worker("w")
    world.worker("w", number=2)
    told = [e[0] if type(e) is list else e for e in events]
    assert [type(e).__name__ for e in told] == ["Register", "LinkLost", "Register"]


def test_what_an_abandoned_link_says_is_dropped(world):
    client = world.client()
    old = world.worker("w")
    client.say(submit(1))
    (run,) = old.heard(Run)
    world.worker("w", number=2)
    old.say(finished(run))
    assert client.heard(Done) == []
    assert world.server.dropped == {"frames of a link that does not count": 1}


def test_an_older_process_of_a_name_is_told_to_end_and_replaces_nobody(world):
    young = world.worker("w", epoch=5)
    old = world.worker("w", epoch=4)
    assert old.heard(wire.Depart)
    assert young.closed is None
    assert world.server.peers["worker/w"].link is young


def test_who_has_not_attached_is_not_heard(world):
    link = world.link("client/c")
    link.say(submit(1))
    assert world.server.machine.books.tasks == {}


def test_a_worker_cannot_register_under_another_name(world):
    link = world.link("worker/a")
    link.say(registration("b"))
    assert world.server.machine.books.workers == {}
    assert world.server.peers == {}


def test_a_link_that_is_lost_is_told_and_the_client_finds_its_results_again(world):
    client = world.client(same_machine=False)
    worker = world.worker()
    client.say(CODE, submit(1))
    client.lose()
    (run,) = worker.heard(Run)
    worker.say(finished(run))
    again = world.client(same_machine=False)
    assert [type(m) for m in again.said] == [wire.Attached, Done]


def test_roles_that_have_nothing_to_say_to_a_scheduler_are_refused(world):
    from tests.unit.cluster.server_world import FakeLink

    answer = world.server.attach(FakeLink("scheduler/run"))
    assert isinstance(answer, str)
    assert "scheduler/run" in answer


def test_data_is_not_taken_by_a_scheduler(world):
    client = world.client()
    client.ear.chunk(client, wire.Chunk(1, 0, 0, memoryview(b"x")))
    assert client.closed == "a scheduler takes no data"


def test_a_machine_that_fails_ends_the_server_and_its_links(world, monkeypatch):
    client, worker = world.client(), world.worker()

    def fail(*args, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(world.server.machine, "handle", fail)
    client.say(submit(1))
    assert [str(error) for error in world.crashes] == ["a bug"]
    assert "a bug" in client.closed
    assert worker.closed is not None
    worker.say(registration("w", number=2))
    assert len(world.crashes) == 1


def test_closing_tells_workers_to_end_and_refuses_who_comes(world):
    client, worker = world.client(), world.worker()
    world.server.close("it was told to")
    assert worker.heard(wire.Depart)
    assert client.closed == worker.closed == "it was told to"
    assert isinstance(world.server.attach(client), str)


def test_a_run_that_no_link_can_carry_errs_its_task(world):
    client, worker = world.client(), world.worker()
    client.say(submit(1))
    (run,) = worker.heard(Run)
    worker.ear.unsent(worker, run, "a Run of 70,000,000 bytes is over the limit")
    (erred,) = client.heard(wire.Erred)
    assert erred.failure.kind == "internal"
    assert "over the limit" in erred.failure.text


def test_an_answer_that_no_link_can_carry_is_answered_with_the_reason(world):
    client = world.client()
    client.ear.unsent(client, wire.Reply(3, ["x"]), "too large")
    (reply,) = client.heard(wire.Reply)
    assert reply.ask == 3
    assert "too large" in reply.error


def test_where_no_credentials_are_needed_a_block_gets_an_empty_one(world):
    client = world.client()
    assert client.say(wire.Issue(4, "block-1")) == [wire.Issued(4, b"")]


def test_a_block_gets_a_credential_or_the_reason_why_not(world):
    client = world.client()
    world.server.issue = lambda block: block.encode()
    assert client.say(wire.Issue(4, "block-1")) == [wire.Issued(4, b"block-1")]
    world.server.issue = lambda block: 1 / 0
    (issued,) = client.say(wire.Issue(5, "block-1"))
    assert "ZeroDivisionError" in issued.error


def test_nobody_speaks_for_a_block_that_was_revoked(world):
    client = world.client()
    one, other = world.worker("block-1/host"), world.worker("block-10/host")
    client.say(wire.Revoke("block-1"))
    assert one.closed == "its block has ended"
    assert other.closed is None
    assert isinstance(world.server.attach(one), str)
    client.say(wire.Issue(1, "block-1"))
    assert not isinstance(world.server.attach(one), str)


def test_the_roll_tells_who_is_there_and_how_many_of_a_block_have_ever_been(world):
    client = world.client()
    for name in ("7/one", "7/two"):
        link = world.link(f"worker/{name}")
        link.say(replace(registration(name), block="7"))
    link.lose()
    (reply,) = client.say(wire.Roll(9))
    assert reply == wire.Reply(9, [[["7/one", "7", "host", 1, 0]], [["7", 2]]])
