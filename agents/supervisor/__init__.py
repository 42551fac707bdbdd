"""One small program that owns one child command and everything it starts, so that nothing outlives a step.

Enters here: the standard library only, because the program must start in a few hundredths of a second.
Never enters: Django, Celery, or any other part of this project.
"""
