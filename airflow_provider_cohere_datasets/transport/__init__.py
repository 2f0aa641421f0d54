"""The two drivers of core's flows: ``blocking`` for tasks, ``nonblocking`` for triggers."""
