"""Hundreds of exports and waits on a server of which every fourth answer is broken: ``python -m tests.soak``.

It takes minutes, so it is not part of the tests: run it with ``make soak``.
"""
