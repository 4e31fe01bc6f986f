"""Which edits of a program change the key of a call, and which do not."""

from __future__ import annotations

import functools
import os.path
import threading
from collections.abc import Iterator

import pytest

from tests.unit.memo.calls import Project, digest, key


@pytest.fixture
def project() -> Iterator[Project]:
    made = Project()
    yield made
    made.forget()


def same(project: Project, before: str, after: str, *args: object) -> bool:
    args = args or (3,)
    first = digest(project.function(before), *args)
    return first == digest(project.function(after), *args)


# --- edits that are no change --------------------------------------------------------------------


def test_comments_blank_lines_and_the_layout_of_a_call_are_no_change(project):
    before = "def f(x):\n    y = x + 1\n    return max(y, 2)\n"
    after = """
        # A comment.


        def f(x):
            # Another.

            y = x + 1  # And one more.
            return max(
                y,
                2,
            )
    """
    assert same(project, before, after)


def test_adding_changing_and_removing_a_docstring_is_no_change(project):
    bare = "def f(x):\n    if x: return None\n    return x, None, 'a'\n"
    first = "def f(x):\n    'It does.'\n    if x: return None\n    return x, None, 'a'\n"
    other = "def f(x):\n    'It does not.'\n    if x: return None\n    return x, None, 'a'\n"
    assert same(project, bare, first)
    assert same(project, first, other)


def test_a_docstring_in_a_class_inside_a_function_is_no_change(project):
    source = "def f(x):\n    class A:\n        {}\n        y = 1\n    return A.y + x\n"
    assert same(project, source.format("'''One.'''"), source.format("'''Two.'''\n\n"))


def test_a_docstring_that_shifts_every_constant_past_the_256th_is_no_change(project):
    many = "\n".join(f"    x += {n}.5" for n in range(255))
    assert same(
        project,
        f"def f(x):\n{many}\n    while x > 1:\n        x -= 1.25\n    return x\n",
        f"def f(x):\n    'Doc.'\n{many}\n    while x > 1:\n        x -= 1.25\n    return x\n",
    )


def test_code_that_moved_in_its_file_or_to_another_is_no_change(project):
    helper = "def norm(x):\n    return x / 2\n"
    one = helper + "def f(x):\n    return norm(x)\n"
    first = digest(project.function(one), 3)
    assert first == digest(project.function("A = 1\n\n\n" + one), 3)
    project.module("project_helpers", helper)
    moved = "from project_helpers import norm\ndef f(x):\n    return norm(x)\n"
    assert first == digest(project.function(moved), 3)


def test_names_of_unused_globals_are_no_change(project):
    assert same(project, "def f(x):\n    return x\n", "A = 1\ndef f(x):\n    return x\n")


def test_annotations_are_no_change(project):
    assert same(
        project,
        "def f(x):\n    return x\n",
        "def f(x: int) -> int:\n    return x\n",
    )


# --- edits that are a change ---------------------------------------------------------------------

BODY = """
import math

RATE = 3
TABLE = {"a": [1, 2]}

class Colour:
    pass

class Base:
    factor = 2
    def scale(self, x):
        return x * self.factor

class Scaler(Base):
    def run(self, x):
        return self.scale(x) + 1

def deep(x):
    return x - 1

def helper(x, by=4):
    return deep(x) * by

def even(n):
    return True if n == 0 else odd(n - 1)

def odd(n):
    return False if n == 0 else even(n - 1)

def outer(y):
    def inner(x):
        return x + y
    return inner

added = outer(5)

def f(x):
    total = sum(helper(i) for i in range(x))
    return total + RATE + len(TABLE) + Scaler().run(x) + even(x) + added(x) + math.floor(x)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total + RATE", "total - RATE"),
        ("RATE = 3", "RATE = 4"),
        ("RATE = 3", "RATE = 3.0"),
        ('"a": [1, 2]', '"a": [1, 3]'),
        ("return x - 1", "return x - 2"),
        ("by=4", "by=5"),
        ("factor = 2", "factor = 3"),
        ("x * self.factor", "x / self.factor"),
        ("self.scale(x) + 1", "self.scale(x) + 2"),
        ("class Scaler(Base)", "class Scaler(Base, Colour)"),
        ("n == 0 else even", "n == 1 else even"),
        ("return x + y", "return x - y"),
        ("outer(5)", "outer(6)"),
        ("math.floor", "math.ceil"),
        ("range(x)", "range(x, 9)"),
        ("def f(x)", "def f(x, *rest)"),
    ],
)
def test_an_edit_of_anything_that_is_reached_is_a_change(project, old, new):
    assert old in BODY
    assert not same(project, BODY, BODY.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("return x - 1", "return x - 2"), ("K = 2", "K = 3")],
)
@pytest.mark.parametrize(
    "use",
    [
        "import project_h\ndef f(x):\n    return project_h.norm(x)\n",
        "import project_h as h\ndef f(x):\n    return [h.norm(i) for i in (x,)]\n",
        "from project_h import norm\ndef f(x):\n    return (lambda y: norm(y))(x)\n",
        "def f(x):\n    from project_h import norm\n    return norm(x)\n",
        "def f(x):\n    import project_h\n    return project_h.norm(x)\n",
        "import project_h\ndef f(x):\n    return getattr(project_h, 'norm')(x)\n",
        "from project_h import norm\nways = {'n': norm}\ndef f(x):\n    return ways['n'](x)\n",
        "from project_h import norm\nways = {norm}\ndef f(x):\n    return sum(w(x) for w in ways)\n",
        "import functools, project_h\ng = functools.partial(project_h.norm)\ndef f(x):\n    return g(x)\n",
        "import functools, project_h\ng = functools.lru_cache(project_h.norm)\ndef f(x):\n    return g(x)\n",
        "import project_h\nclass A:\n    def __call__(self, x):\n        return project_h.norm(x)\n"
        "a = A()\ndef f(x):\n    return a(x)\n",
        "import project_h\nclass A:\n    @staticmethod\n    def n(x):\n        return project_h.norm(x)\n"
        "    @property\n    def p(self):\n        return self.n\ndef f(x):\n    return A().p(x)\n",
        "import project_h\nclass A:\n    def n(self, x):\n        return project_h.norm(x)\n"
        "n = A().n\ndef f(x):\n    return n(x)\n",
        "import project_h\ndef f(x, g=project_h.norm):\n    return g(x)\n",
        "import project_h, functools\ndef twice(g):\n    @functools.wraps(g)\n    def w(*a, **k):\n"
        "        return g(*a, **k) * 2\n    return w\n@twice\ndef f(x):\n    return project_h.norm(x)\n",
    ],
)
def test_a_helper_in_another_module_is_reached_by_whatever_way(project, use, old, new):
    helper = "K = 2\ndef norm(x):\n    return x - 1 + K\n"
    project.module("project_h", helper)
    before = digest(project.function(use), 3)
    assert before == digest(project.function(use), 3)
    project.module("project_h", helper.replace(old, new))
    assert before != digest(project.function(use), 3)


def test_a_helper_in_a_package_is_reached_by_its_dotted_name(project):
    project.module("project_p", "")
    project.module("project_p.sub", "def fn(x):\n    return x\n")
    use = "import project_p.sub\ndef f(x):\n    return project_p.sub.fn(x)\n"
    before = digest(project.function(use), 3)
    project.module("project_p.sub", "OTHER = 1\ndef fn(x):\n    return x\n")
    assert before == digest(project.function(use), 3)
    project.module("project_p.sub", "def fn(x):\n    return -x\n")
    assert before != digest(project.function(use), 3)


def test_a_global_that_is_bound_anew_is_seen_by_the_same_function(project):
    f = project.function("K = [1]\ndef g(x):\n    return x\ndef f(x):\n    return g(x) + K[0]\n")
    first = digest(f, 1)
    f.__globals__["g"] = lambda x: -x
    second = digest(f, 1)
    f.__globals__["K"].append(2)
    third = digest(f, 1)
    f.__globals__["K"].pop()
    assert len({first, second, third}) == 3
    assert digest(f, 1) == second


def test_a_cell_that_is_filled_anew_is_seen_by_the_same_function():
    def make():
        y = 1

        def f(x):
            return x + y

        def fill(value):
            nonlocal y
            y = value

        return f, fill

    f, fill = make()
    first = digest(f, 1)
    fill(2)
    second = digest(f, 1)
    fill(1)
    assert first == digest(f, 1) != second


def test_a_method_that_is_replaced_is_seen_by_the_same_function(project):
    f = project.function(
        "class A:\n    def m(self):\n        return 1\ndef f(x):\n    return A().m()\n"
    )
    first = digest(f, 1)
    f.__globals__["A"].m = lambda self: 2
    assert digest(f, 1) != first


def test_swapping_two_helpers_is_a_change(project):
    source = (
        "def a(x):\n    return x\ndef b(x):\n    return -x\n"
        "p, q = {}\ndef f(x):\n    return p(x) - q(x) * 2\n"
    )
    assert not same(project, source.format("a, b"), source.format("b, a"))


def test_two_closures_of_one_factory_are_told_apart(project):
    source = (
        "def make(n):\n    def add(x):\n        return x + n\n    return add\n"
        "p, q = make({}), make({})\ndef f(x):\n    return p(x) - q(x) * 2\n"
    )
    assert not same(project, source.format(1, 2), source.format(2, 1))


def test_a_global_without_a_value_to_digest_stands_for_its_type(project):
    f = project.function(
        "import threading\nlock = threading.Lock()\ndef f(x):\n    with lock:\n        return x\n"
    )
    first = digest(f, 1)
    f.__globals__["lock"] = threading.Lock()
    assert digest(f, 1) == first
    f.__globals__["lock"] = threading.RLock()
    assert digest(f, 1) != first


def test_a_global_whose_reduce_raises_is_no_error(project):
    source = "class A:\n    def __reduce__(self):\n        raise OSError('no')\na = A()\ndef f(x):\n    return a, x\n"
    assert same(project, source, source)


def test_parts_are_named_so_that_people_know_them(project):
    project.module("project_h", "K = 2\ndef norm(x):\n    return x + K\n")
    f = project.function(
        "import project_h\nZ = 3\ndef g(q):\n    def f(x, *rest, y=2):\n"
        "        return project_h.norm(x) + Z + q\n    return f\nf = g(1)\n"
    )
    assert set(key(f, 1).parts) == {
        "arg *rest", "arg x", "closure q", "code", "default y", "global Z",
        "global project_h.K", "helper project_h.norm", "python",
    }  # fmt: skip


def test_an_installed_function_stands_for_its_name(project):
    f = project.function("import os.path\ndef f(x):\n    return os.path.join(x, 'a')\n")
    assert "helper posixpath.join" not in key(f, "x").parts
    assert digest(os.path.join, "a", "b") == digest(os.path.join, "a", "b")
    assert digest(os.path.join, "a") != digest(os.path.split, "a")


def test_functions_written_in_c_have_keys_too():
    assert digest(sorted, [1]) != digest(sum, [1])
    assert digest(sorted, [1]) != digest(sorted, [2])
    assert digest(sorted, [1], reverse=True) != digest(sorted, [1])


def test_single_dispatch_sees_what_is_registered_later(project):
    f = project.function(
        "import functools\n@functools.singledispatch\ndef g(x):\n    return x\ndef f(x):\n    return g(x)\n"
    )
    first = digest(f, 1)
    f.__globals__["g"].register(int, lambda x: -x)
    assert digest(f, 1) != first


def test_a_wrapper_says_what_is_digested_in_its_stead():
    def user(x, y=1):
        return x

    def wrap(func, extra=None):
        def wrapper(*args, **kwargs):
            return func(*args, **kwargs)

        wrapper.__memo_func__ = func
        if extra is not None:
            wrapper.__memo_extra__ = extra
        return wrapper

    assert digest(wrap(user), 1) == digest(user, 1) == digest(wrap(user), x=1)
    assert digest(wrap(user, "bash"), 1) != digest(user, 1)
    assert digest(wrap(user, b"bash"), 1) != digest(wrap(user, b"join"), 1)
    other = functools.partial(print)
    other.__memo_func__ = user
    assert digest(other, 1) == digest(user, 1)


def test_classes_as_functions_have_keys(project):
    source = "class f:\n    def __init__(self, x):\n        self.x = x{}\n"
    first = digest(project.module("project_main", source.format("")).f, 1)
    assert first == digest(project.module("project_main", source.format("")).f, 1)
    assert first != digest(project.module("project_main", source.format(" + 1")).f, 1)
