"""One process of four that share a breaker: it fails, then asks again and again whether it may try. Run by a test.

Arguments: target, how often to fail, its name. Prints what it saw, a JSON object. Enters only once told to, by a line on stdin.
"""

import json
import sys
import time

import django

django.setup()

from django.conf import settings  # noqa: E402 - models exist only once Django is ready
from django.db import transaction  # noqa: E402

from agents.breaker import Breakers, Policy  # noqa: E402

target, failures, me = sys.argv[1], int(sys.argv[2]), sys.argv[3]
breakers = Breakers(settings.CHIFFON_REDIS_URL, Policy(failures=5, window=60, wait=3.0, longest=9.0))
aim = ("diagnostic.fail", target)
for _ in range(failures):
    breakers.note({aim: "bad"}, me, error=f"{me} could not reach it")
print("failed", flush=True)
sys.stdin.readline()
before, entered = breakers.look([aim])[aim], 0
until = time.monotonic() + 5
while time.monotonic() < until:
    with transaction.atomic():
        seen = breakers.enter(aim, me, lease=30)
    if seen.closed or seen.probe == me:
        entered += 1
        break
    time.sleep(0.005)
print(json.dumps({"before": before.state, "entered": entered}), flush=True)
