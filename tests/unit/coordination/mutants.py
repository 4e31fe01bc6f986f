"""Faults for the rooms of the scheduler in which clients coordinate; see `tests.mutation`."""

from __future__ import annotations

from tests.mutation import Campaign, Mutant, faults

#: The quick ones that notice most come first.
SUITE = (
    *(
        f"tests/unit/scheduler/{name}"
        for name in (
            "test_semaphores.py",
            "test_signals.py",
            "test_channels.py",
            "test_topics.py",
            "test_metadata.py",
        )
    ),
    "tests/properties/test_coordination_machine.py",
)

MUTANTS: list[Mutant] = [
    *faults(
        "scheduler._desks",
        ("answers-not-kept", "    kept[ask] = Kept(reply, token, queue, items)\n", ""),
        ("waits-answered-again", "    if ask in desk.waits:\n        return\n", ""),
        ("told-again-as-new", "Reply(ask) if kept is None else kept.reply", "Reply(ask)"),
        ("no-time", "        books.shared.clock.add(wait)\n", "        pass\n"),
        ("ended-counts-on", "    books.shared.clock.ended(wait)\n", ""),
    ),
    *faults(
        "scheduler._coordination",
        ("carried-out-twice", "    elif kind not in _QUESTIONS:\n        told_again(books, client, desk, message.ask)\n        return\n", ""),
        ("questions-once", "    elif kind not in _QUESTIONS:\n", "    else:\n"),
        ("newest-not-noted", "        desk.asked = message.ask\n    elif", "        pass\n    elif"),
        ("withdrawn-waits", "        _stop(books, wait)\n        books.send", "        books.send"),
        ("withdrawn-too-late-keeps", "        _undo(books, desk, kept)\n\n\ndef forget", "        pass\n\n\ndef forget"),
        ("gone-waits", "            _stop(books, wait)\n    for topic", "            pass\n    for topic"),
        ("gone-reads", "        del topic.readers[client]\n        _topics.left", "        _topics.left"),
        ("gone-keeps-items", "        _undo(books, desk, desk.kept.pop(ask))\n", "        desk.kept.pop(ask)\n"),
        ("oldest-first", "sorted(desk.kept, reverse=True)", "sorted(desk.kept)"),
        ("gone-keeps-places", "    for token in tuple(desk.places):\n        _semaphores.free(books, desk, token)\n", ""),
        ("not-paused", "        _topics.link_lost(client.desk, client)\n", "        pass\n"),
        ("late-not-answered", "        answer(books, wait.client, wait.ask, wait.late)\n", ""),
        ("arrived-is-under-way", "        _channels.arrived(books, kept)\n", "        pass\n"),
        ("items-not-put-back", "        _channels.put_back(books, kept)\n", "        pass\n"),
        ("place-not-freed", "        _semaphores.free(books, desk, kept.token)\n", "        pass\n"),
    ),
    *faults(
        "scheduler._semaphores",
        ("one-too-many", "    if len(semaphore.taken) < semaphore.places:\n        books", "    if len(semaphore.taken) <= semaphore.places:\n        books"),
        ("waits-for-nothing", "    elif message.timeout_s == 0:\n", "    elif False:\n"),
        ("not-mine", "    if semaphore is None or semaphore.name != message.name:\n", "    if semaphore is None:\n"),
        ("next-not-served", "        _give(books, semaphore, wait)\n    left", "        pass\n    left"),
        ("last-first", "        wait = next(iter(semaphore.line))\n", "        wait = next(reversed(semaphore.line))\n"),
        ("empty-is-kept", "        del books.shared.semaphores[semaphore.name]\n", "        pass\n"),
        ("same-token", "    books.shared.tokens += 1\n", "    books.shared.tokens = max(books.shared.tokens, 1)\n"),
        ("any-size", "    if known is not None and known.places != message.places:\n", "    if False:\n"),
        ("no-place", "    if message.places < 1:\n", "    if False:\n"),
    ),
    *faults(
        "scheduler._signals",
        ("one-is-woken", "        for wait in tuple(signal.line):\n", "        for wait in tuple(signal.line)[:1]:\n"),
        ("stays-set", "        signal.is_set = False\n", ""),
        ("empty-event-is-kept", "        del books.shared.signals[signal.name]\n", "        pass\n"),
        ("asks-for-now-and-waits", "    elif message.timeout_s == 0:\n", "    elif False:\n"),
    ),
    *faults(
        "scheduler._channels",
        ("full-is-not-full", "    return 0 < queue.maxsize <= len(queue.items)\n", "    return False\n"),
        ("one-more-fits", "    return 0 < queue.maxsize <= len(queue.items)\n", "    return 0 < queue.maxsize < len(queue.items)\n"),
        ("passes-who-waits", "    if not queue.line and len(queue.items) >= least:\n", "    if len(queue.items) >= least:\n"),
        ("less-is-enough", "        if len(queue.items) < wait.least:\n", "        if not queue.items:\n"),
        ("put-back-at-the-end", "    queue.items.extendleft(reversed(kept.items))\n", "    queue.items.extend(kept.items)\n"),
        ("put-back-turned-round", "    queue.items.extendleft(reversed(kept.items))\n", "    queue.items.extendleft(kept.items)\n"),
        ("put-back-to-nobody", "    queue.items.extendleft(reversed(kept.items))\n    _serve(books, queue)\n", "    queue.items.extendleft(reversed(kept.items))\n"),
        ("arrived-is-wanted", "    for stored in kept.items:\n        let_go(books, stored)\n", ""),
        ("stopped-put-is-wanted", "    if wait.stored is not None:\n        let_go(books, wait.stored)\n", ""),
        ("next-taker-not-served", "        let_go(books, wait.stored)\n    _serve(books, queue)\n", "        let_go(books, wait.stored)\n    _left(books, queue)\n"),
        ("empty-queue-is-kept", "        books.shared.queues.pop(queue.name, None)\n", "        pass\n"),
        ("too-much", "        count = _fitting(items, count)\n", ""),
        ("other-size", "    if maxsize and queue.maxsize != maxsize:\n", "    if False:\n"),
        ("size-not-noted", "        queue.maxsize = maxsize\n", "        pass\n"),
        ("never-there", "    if wrong is None and queue.maxsize and least > queue.maxsize:\n", "    if False:\n"),
    ),
    *faults(
        "scheduler._variables",
        ("one-reader-is-woken", "            for wait in tuple(variable.line):\n", "            for wait in tuple(variable.line)[:1]:\n"),
        ("old-value-is-wanted", "            let_go(books, old)\n", "            pass\n"),
        ("no-value-is-kept", "        del books.shared.variables[variable.name]\n", "        pass\n"),
    ),
    *faults(
        "scheduler._keepers",
        ("future-not-wanted", "        desire(books, keeper, id)\n", "        pass\n"),
        ("unknown-is-stored", "    if unknown:\n", "    if False:\n"),
        ("let-go-at-once", "        linger(books, ts)\n", ""),
        ("wanted-for-ever", "        unwant(books, ts, keeper)\n", "        pass\n"),
    ),
    *faults(
        "scheduler._topics",
        ("announced-twice", "        if message.serial <= desk.announced:\n", "        if False:\n"),
        ("serial-not-noted", "        desk.announced = message.serial\n", "        pass\n"),
        ("old-messages-stay", "    while len(topic.messages) > MAX_MESSAGES or topic.nbytes > MAX_BYTES:\n", "    while False:\n"),
        ("paused-is-told", "        if not state.paused:\n", "        if True:\n"),
        ("stays-paused", "        reader.paused = False\n", ""),
        ("begins-anew", "        after = reader.start if message.after is None else message.after\n", "        after = topic.number\n"),
        ("one-missed", "    begin = max(number + 1, first)\n", "    begin = max(number + 2, first)\n"),
        ("undone-is-done-again", "    elif message.ask and (topic is None or topic.readers[client].ask != message.ask):\n", "    elif False:\n"),
        ("unsubscribed-again", "    if message.ask > desk.asked:\n        desk.asked = message.ask\n        topic = desk.topics.pop", "    if True:\n        desk.asked = message.ask\n        topic = desk.topics.pop"),
        ("silent-topic-is-kept", "        del books.shared.topics[topic.name]\n", "        pass\n"),
        ("many-topics", "            del topics[idle.name]\n", "            pass\n"),
    ),
    *faults(
        "scheduler._metadata",
        ("below-a-value", "        if below is not None and type(below) is not dict:\n", "        if False:\n"),
        ("deep", "        if depth >= MAX_DEPTH:\n", "        if False:\n"),
        ("large", "            elif len(each) > MAX_ITEM:\n", "            elif False:\n"),
        ("no-bytes", "            elif type(each) is not bytes:\n", "            elif False:\n"),
    ),
    *faults(
        "scheduler._shared",
        ("dead-deadlines-stay", "        if self._dead > _SPARE and self._dead * 2 > len(heap):\n", "        if False:\n"),
        ("never-due", "        return heap[0][2] if heap and heap[0][0] <= now else None\n", "        return None\n"),
    ),
]  # fmt: skip

CAMPAIGN = Campaign("coordination", SUITE, MUTANTS)
