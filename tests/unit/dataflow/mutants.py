"""Faults for the kernel's machine; see `tests.mutation`."""

from __future__ import annotations

from pathlib import Path

from tests.mutation import Campaign, Mutant, faults

HERE = Path(__file__).resolve().parent
SUITE = (
    *(f"tests/unit/dataflow/{p.name}" for p in sorted(HERE.glob("test_machine_*.py"))),
    "tests/properties/test_kernel_machine.py",
)

MUTANTS: list[Mutant] = [
    *faults(
        "dataflow._machine",
        # tasks begin
        ("closed-takes-more", "if self.closed:\n            return self._end([(node, ev.Ver", "if False:\n            return self._end([(node, ev.Ver"),
        ("others-not-counted", "node.waiting_on += event.others\n", "pass\n"),
        ("others-failed-forgotten", "node.failed_on += event.others_failed\n", "pass\n"),
        ("late-dependency-counts", "if node.phase is not Phase.waiting:\n            return []\n        node.waiting_on -= 1", "node.waiting_on -= 1"),
        ("failed-dependency-ignored", "        if node.failed_on:\n            return self._end([(node, ev.Verdict.dependency, None)])\n", ""),
        ("fails-before-all-ended", "        if node.waiting_on:\n            return []\n        if node.failed_on:\n            return self._end([(n", "        if node.waiting_on and not node.failed_on:\n            return []\n        if node.failed_on:\n            return self._end([(n"),
        # memo table
        ("late-key-counts", "if node.phase is not Phase.preparing:", "if node.phase is Phase.ended:"),
        ("twins-run", "if leader is not node:", "if leader is None:"),
        ("twins-not-told", "leader.twins.append(node)\n", "pass\n"),
        ("foreign-keys-hashed", "if type(key) is str:", "if key is not None:"),
        ("stored-failure-is-a-hit", "verdict = ev.Verdict.from_memo if event.ok else ev.Verdict.error", "verdict = ev.Verdict.from_memo"),
        ("late-look-up-counts", "if node.phase is not Phase.looking_up:", "if node.phase is Phase.ended:"),
        ("unprepared-anywhere", "if event.node.phase in (Phase.preparing, Phase.looking_up):", "if event.node.phase is not Phase.ended:"),
        ("unprepared-not-while-looking-up", "if event.node.phase in (Phase.preparing, Phase.looking_up):", "if event.node.phase is Phase.preparing:"),
        # attempts
        ("old-launch-counts", "if node.phase is Phase.launching and event.attempt == node.try_id:", "if node.phase is Phase.launching:"),
        ("old-outcome-counts", "if event.attempt != node.try_id or not runs or node.early:", "if not runs or node.early:"),
        ("outcome-by-hand-of-the-early", "or not runs or node.early:", "or not runs:"),
        ("outcome-while-judged-counts", "runs = node.phase is Phase.launching or node.phase is Phase.running", "runs = node.phase in (Phase.launching, Phase.running, Phase.judging)"),
        ("overtaken-launch-forgotten", "                self._launched(ev.Launched(node, event.attempt))\n", "                pass\n"),
        ("watched-twice", "                node.phase = Phase.watching\n", ""),
        ("cancelled-attempt-retried", "        if how is ev.Ended.cancelled:\n            return self._end([(node, ev.Verdict.cancelled, None)])\n", ""),
        ("old-judgement-counts", "if node.phase is not Phase.judging or event.attempt != node.try_id:", "if node.phase is not Phase.judging:"),
        ("handler-error-retried", "ev.Ended.hopeless if event.hopeless else how)", "how)"),
        ("failures-not-counted", "        node.fail_count += 1\n", "        pass\n"),
        ("hopeless-retried", "if how is not ev.Ended.failed or not allowed or self.closed:", "if not allowed or self.closed:"),
        ("budget-ignored", "or not allowed or self.closed:", "or self.closed:"),
        ("retried-when-closed", "or not allowed or self.closed:", "or not allowed:"),
        ("attempts-not-numbered", "        node.try_id += 1\n", ""),
        ("settled-before-recorded", "        if not node.memoize:\n            return self._end([(node, verdict, None)])\n        node.phase", "        if not node.memoize or verdict is ev.Verdict.error:\n            return self._end([(node, verdict, None)])\n        node.phase"),
        ("recorded-anywhere", "if event.node.phase is not Phase.recording:", "if event.node.phase is Phase.ended:"),
        # early
        ("memoized-handed-over", "if node.memoize or node.join or self.judged or node.waiting_on or node.failed_on:", "if node.join or self.judged or node.waiting_on or node.failed_on:"),
        ("judged-handed-over", "node.join or self.judged or node.waiting_on", "node.join or node.waiting_on"),
        ("doomed-handed-over", "                if source.status in FINAL_FAILURE_STATES:\n                    return False\n            elif", "                pass\n            elif"),
        ("values-awaited-elsewhere", "            elif not source.early:\n                return False\n", ""),
        ("early-not-launched", "        if not node.waiting_on:\n            self._run_early(node)\n", ""),
        ("early-launched-at-once", "        if not node.waiting_on:\n            self._run_early(node)\n", "        self._run_early(node)\n"),
        ("told-of-the-plain", "if not node.early or node.phase is Phase.ended:", "if node.phase is Phase.ended:"),
        ("told-twice", "if not node.early or node.phase is Phase.ended:", "if not node.early:"),
        ("verdict-of-the-executor", "if event.blamed or node.failed_on:", "if False:"),
        ("blame-forgotten", "                node.failed_on += event.blamed\n", ""),
        ("rows-end-together", "        if event.rows < node.rows:\n            return self._rows_told(node, how, event.rows)\n", ""),
        ("tries-not-replayed", "for number in range(event.failed):", "for number in range(0):"),
        ("replayed-failures-free", "self._charge(node, 0 if number < event.free else 1)", "self._charge(node, 0)"),
        ("deaths-cost", "0 if number < event.free else 1", "1"),
        ("last-failure-free", "            self._charge(node, 1)\n        return", "            pass\n        return"),
        ("success-charged", "if how is not ev.Ended.succeeded and how is not ev.Ended.cancelled:", "if True:"),
        ("rows-stay", "        node.rows -= rows\n", ""),
        ("rows-not-counted-out", "        self.counts[node.status] -= rows\n", ""),
        ("all-rows-succeed", "self.counts[_STATE_OF_ROWS[how]] += rows", "self.counts[States.exec_done] += rows"),
        ("early-not-cancelled", "and not event.stopped and not node.early:", "and not event.stopped:"),
        ("attempts-by-hand", "            return state is States.launched\n", "            return True\n"),
        ("closing-takes-the-early", "or (node.phase < Phase.running and not node.early):", "or node.phase < Phase.running:"),
        ("early-launched-again", "            elif dependent.early:\n                self._run_early(dependent)\n", ""),
        # joins
        ("joined-while-running", "if node.phase is not Phase.watching:", "if node.phase not in (Phase.watching, Phase.running):"),
        ("inner-failures-forgotten", "node.failed_on = event.failed\n", "node.failed_on = 0\n"),
        ("join-does-not-wait", "        if node.waiting_on:\n            return []\n        return self._finish(", "        return self._finish("),
        ("inner-by-hand-counts", "                raise illegal(node, \"handle_join_update\")\n            return []\n", "                raise illegal(node, \"handle_join_update\")\n"),
        # what people ask for
        ("recorded-task-cancelled", "if node.phase is Phase.ended or node.phase is Phase.recording:", "if node.phase is Phase.ended:"),
        ("running-task-cancelled", "if node.phase is Phase.running and not event.stopped and", "if node.phase is Phase.running and event.stopped and"),
        ("results-by-hand", "if state in _BY_EVENT_ONLY or node.phase in _OUTCOME_KNOWN or self.closed:", "if node.phase in _OUTCOME_KNOWN or self.closed:"),
        ("attempts-after-the-outcome", "if state in _BY_EVENT_ONLY or node.phase in _OUTCOME_KNOWN or self.closed:", "if state in _BY_EVENT_ONLY or self.closed:"),
        ("launch-by-hand-when-closed", "node.phase in _OUTCOME_KNOWN or self.closed:", "node.phase in _OUTCOME_KNOWN:"),
        ("memoized-marked-launched", "return state is not States.launched or not node.memoize or node.phase is Phase.launching", "return True"),
        ("launched-before-it-may", "if node.phase is Phase.launching or node.phase is Phase.running:\n            return [self._try_again(node)]", "if True:\n            return [self._try_again(node)]"),
        ("does-not-close", "        self.closed = True\n", ""),
        ("known-outcome-abandoned", "verdict = ev.Verdict(node.verdict)\n", "verdict = ev.Verdict.abandoned\n"),
        ("closing-takes-the-running", "or (node.phase < Phase.running and", "or (node.phase <= Phase.running and"),
        # tasks end
        ("ended-twice", "            if node.phase is Phase.ended:\n                continue\n            self._step", "            self._step"),
        ("stays-open", "            del self.open[node.id]\n", ""),
        ("orders-before-settlements", "            commands += orders\n", "            commands[:0] = orders\n"),
        ("dependents-forgotten", "                ending += self._release(node, orders)\n", ""),
        ("twins-forgotten", "                ending += self._pass_on(node, orders)\n", ""),
        ("cancelled-dependents-launched", "            if dependent.phase is not Phase.waiting:\n                continue\n", ""),
        ("failures-do-not-spread", "dependent.failed_on += bad\n", "pass\n"),
        ("launched-when-closed", "            elif not self.closed:\n", "            else:\n"),
        ("key-kept", "        del self.leaders[key]\n", ""),
        ("failures-replayed", "        if leader.status not in FINAL_FAILURE_STATES:\n            return [(twin", "        if True:\n            return [(twin"),
        ("heirs-when-closed", "while twins and not self.closed:", "while twins:"),
        ("cancelled-heirs", "            if heir.phase is Phase.twin:\n", "            if True:\n"),
        ("twins-of-the-heir-lost", "heir.twins = twins or None\n", "heir.twins = None\n"),
        ("heir-does-not-lead", "                self.leaders[key] = heir\n", ""),
        ("all-twins-inherit", "                break\n", ""),
        ("not-counted-out", "            self.counts[old] -= rows\n", "            pass\n"),
        ("bundles-count-as-one", "old, rows = advance(node, step), node.rows", "old, rows = advance(node, step), 1"),
        ("dependency-error-is-an-error", "ev.Ended.dependency: ev.Verdict.dependency,", "ev.Ended.dependency: ev.Verdict.error,"),
    ),
    *faults(
        "dataflow._graph",
        ("failed-source-unseen", "                node.failed_on += 1\n", "                pass\n"),
        ("second-dependent-replaces", "source.dependents = [waiting, node]", "source.dependents = [node]"),
        ("edges-kept", "    source.dependents = None\n    return", "    return"),
        ("ended-source-awaited", "                node.failed_on += 1\n            continue\n", "                node.failed_on += 1\n"),
    ),
    *faults(
        "dataflow._retry",
        ("one-attempt-less", "total <= budget and", "total < budget and"),
        ("infinity-allowed", " and total != _INFINITE", ""),
        ("huge-costs-raise", "except OverflowError:", "except ZeroDivisionError:"),
        ("costs-do-not-add-up", "total = spent + float(cost)", "total = float(cost)"),
    ),
    *faults(
        "dataflow._transitions",
        ("story-forgets", "node.story = (node.story << 4 | new + 1) & _STORY_MASK", "node.story = new + 1"),
        ("story-grows", " & _STORY_MASK", ""),
        ("story-backwards", "return states[::-1]", "return states"),
        ("retry-out-of-joining", "        Step.fail: States.failed,\n        Step.cancel: States.failed,\n    },\n    # What", "        Step.fail: States.failed,\n        Step.retry: States.fail_retryable,\n        Step.cancel: States.failed,\n    },\n    # What"),
    ),
    *faults(
        "dataflow._invariants",
        ("books-not-counted", "if state not in FINAL_STATES and counter != counted[state]:", "if False:"),
        ("edges-not-counted", "waited_for[id(node)] > node.waiting_on:", "waited_for[id(node)] < 0:"),
        ("early-not-checked", "any(dependent.early for dependent in _dependents(node))", "False"),
        ("early-phases-not-checked", "or node.phase not in EARLY_PHASES", ""),
        ("twins-not-checked", "if led[id(node)] != (node.phase is Phase.twin):", "if False:"),
    ),
]  # fmt: skip

CAMPAIGN = Campaign("dataflow", SUITE, MUTANTS)
