"""How the arguments of a call come into its key."""

from __future__ import annotations

import functools
import os

import pytest

from tests.unit.memo.calls import KEYS_BY_CONTENT, digest, key
from treadle.data_provider.files import File
from treadle.dataflow.memo.key import KeyMaker
from treadle.dataflow.memo.registry import CATALOGUE, PLANS


def f(x, y=2, *rest, z=3, **more):
    return x


def made(func, args=(), kwargs=None, ignore=()):
    return KeyMaker(CATALOGUE, PLANS).make(func, args, kwargs or {}, ignore).digest


def test_how_an_argument_is_passed_does_not_matter():
    same = {
        digest(f, 1),
        digest(f, x=1),
        digest(f, 1, 2),
        digest(f, 1, y=2),
        digest(f, y=2, x=1),
        digest(f, z=3, x=1),
    }
    assert len(same) == 1


def test_what_is_passed_matters():
    calls = [
        digest(f, 1),
        digest(f, 2),
        digest(f, 1, 3),
        digest(f, 1, 2, 3),
        digest(f, 1, z=4),
        digest(f, 1, w=4),
        digest(f, 1, v=4),
        digest(f, 2, 1),
    ]
    assert len(set(calls)) == len(calls)


def test_a_call_that_does_not_fit_has_a_key_of_its_own():
    def g(x):
        return x

    assert digest(g, 1, 2) == digest(g, 1, 2)
    assert digest(g, 1, 2) != digest(g, 1)
    assert digest(g) != digest(g, y=1)
    assert digest(g, 1, x=1) != digest(g, 1)


def test_a_positional_only_name_may_be_a_keyword_too():
    def g(x, /, **more):
        return x, more

    assert digest(g, 1, x=2) != digest(g, 2, x=1)
    assert digest(g, 1) != digest(g, 1, x=1)


def test_partial_functions_and_methods_are_calls_of_what_is_under_them():
    assert digest(functools.partial(f, 1), z=4) == digest(f, 1, z=4)
    assert digest(functools.partial(f, x=1)) == digest(f, 1)

    class Model:
        def __init__(self, weight):
            self.weight = weight

        def run(self, x):
            return self.weight * x

        def __call__(self, x):
            return self.run(x)

    assert digest(Model(1).run, 2) == digest(Model(1).run, x=2)
    assert digest(Model(1).run, 2) != digest(Model(2).run, 2)
    assert digest(Model(1), 2) == digest(Model(1), x=2) != digest(Model(2), 2)


def test_ignored_arguments_are_left_out_wherever_they_stand():
    assert made(f, (1, 5), {}, ["y"]) == made(f, (1, 6), {}, ["y"])
    assert made(f, (1,), {"y": 5}, ["y"]) == made(f, (1, 6), {}, ["y"])
    assert made(f, (1,), {"w": 5}, ["w"]) == made(f, (1,), {"w": 6}, ["w"])
    assert made(f, (1,), {}, ["y", "no such name"]) == made(f, (1, 9), {}, ["y"])
    assert made(f, (1, 2), {}, ["y"]) != made(f, (2, 2), {}, ["y"])
    assert made(print, (1,), {"end": 1}, ["end"]) == made(print, (1,), {"end": 2}, ["end"])


def test_what_is_ignored_need_not_have_a_value_to_digest():
    assert made(f, (1,), {"y": (i for i in ())}, ["y"]) == made(f, (1, 2), {}, ["y"])


def test_scheduling_options_are_no_part_of_the_key():
    def plain(x):
        return x

    def declares(x, walltime=None, label="", parsl_resource_specification=None):
        return x

    options = {"walltime": 5, "label": "a", "parsl_resource_specification": {"cores": 2}}
    assert digest(plain, 1, **options, treadle_priority=3) == digest(plain, 1)
    assert digest(declares, 1, **options) == digest(declares, 1)
    assert digest(f, 1, **options) == digest(f, 1)


def test_a_function_that_looks_at_its_label_is_another_call():
    def plot(x, label="a"):
        return x, label

    assert digest(plot, 1, label="a") == digest(plot, 1)
    assert digest(plot, 1, label="b") != digest(plot, 1)


def test_automatic_names_for_streams_are_no_part_and_chosen_ones_are(tmp_path):
    keys = KeyMaker(CATALOGUE, PLANS)
    keys.log_dir = os.path.join(tmp_path, "task_logs", "")

    def of(stdout):
        return keys.make(f, (1,), {"stdout": stdout}).digest

    automatic = {of(str(tmp_path / "task_logs" / "0000" / f"task_{n}.stdout")) for n in range(3)}
    assert automatic == {of(None), of(-1), of((str(tmp_path / "task_logs/a"), "w"))}
    assert len({of("a.txt"), of("b.txt"), of(("a.txt", "w")), of(None)}) == 4


def test_special_keywords_need_not_be_declared():
    def g(x):
        return x

    assert digest(g, 1, inputs=[1]) == digest(g, x=1, inputs=[1])
    assert digest(g, 1, inputs=[1]) != digest(g, 1, inputs=[2])
    assert digest(g, 1, stdout="a") != digest(g, 1)


def test_files_count_by_their_url():
    assert digest(f, File("a.txt")) == digest(f, File("a.txt"))
    assert digest(f, File("a.txt")) != digest(f, File("b.txt"))
    assert digest(f, File("a.txt")) != digest(f, "a.txt")
    staged = File("http://host/a.txt")
    staged.local_path = "/somewhere/a.txt"
    assert digest(f, staged) == digest(f, File("http://host/a.txt"))


def test_files_count_by_their_content_where_that_was_chosen(tmp_path):
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text("one")
    b.write_text("one")

    def of(*args, **kwargs):
        return KEYS_BY_CONTENT.make(f, args, kwargs).digest

    first = of(File(a))
    assert first == of(File(b)) == of([File(a)][0])
    assert of(1, inputs=[File(a)]) == of(1, inputs=[File(b)])
    # What is to be written counts by its name, whatever is there now.
    assert of(1, outputs=[File(a)]) != of(1, outputs=[File(b)])
    a.write_text("two")
    assert first != of(File(a))
    assert of(File("http://host/x")) == of(File("http://host/x")) != of(File("http://host/y"))
    a.unlink()
    assert of(File(a)) == of(File(a)) != of(File("other"))


def test_a_mutable_default_counts_by_its_value_of_today():
    def g(x, seen=[]):  # noqa: B006 - on purpose
        return x

    first = digest(g, 1)
    g.__defaults__[0].append(1)
    assert digest(g, 1) != first
    assert digest(g, 1) == digest(g, 1, [1])


def test_functions_as_arguments_count_by_their_code():
    def apply(g, x):
        return g(x)

    assert digest(apply, lambda x: x, 1) == digest(apply, lambda x: x, 1)
    assert digest(apply, lambda x: x, 1) != digest(apply, lambda x: -x, 1)
    assert digest(apply, len, 1) != digest(apply, sum, 1)
    assert digest(apply, int, 1) != digest(apply, str, 1)
    assert any(part.startswith("helper") for part in key(apply, lambda x: x, 1).parts)


def test_a_function_that_takes_itself_ends():
    def g(x):
        return g

    assert digest(g, g) == digest(g, g)
    assert digest(g, [g, {"a": g}]) != digest(g, g)


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_any_number_of_arguments_has_a_key(count):
    def g(*args):
        return args

    assert digest(g, *range(count)) == digest(g, *range(count))
    assert digest(g, *range(count)) != digest(g, *range(count + 1))
