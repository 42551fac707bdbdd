"""Read the dates of the certificates in some folders: `cert_dates.py --warn-days N FOLDER...`; JSON on stdout.

It reads only the validity of X.509 certificates in PEM files (`*.pem`, `*.crt`); it does not judge who signed them.
Standard library only, which is why the few bytes of DER that matter are walked by hand.
"""

import argparse
import base64
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
SEQUENCE, EXPLICIT_VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
LARGEST_FILE_BYTES = 1024 * 1024


def element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The tag, the content and the end of the DER element at `at`; raises ValueError."""
    if at + 2 > len(data):
        raise ValueError("it ends too early")
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        width = length & 0x7F
        if not 1 <= width <= 4 or start + width > len(data):
            raise ValueError("it is not DER")
        length = int.from_bytes(data[start : start + width], "big")
        start += width
    if start + length > len(data):
        raise ValueError("it ends too early")
    return tag, data[start : start + length], start + length


def moment(tag: int, content: bytes) -> datetime:
    """A time of a certificate, in UTC; raises ValueError."""
    text = content.decode("ascii")
    if tag == UTC_TIME:  # two digits of the year: 50 to 99 are of the last century
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("its validity holds no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def validity(der: bytes) -> tuple[datetime, datetime]:
    """From when and until when a certificate holds; raises ValueError."""
    tag, certificate, _ = element(der, 0)
    if tag != SEQUENCE:
        raise ValueError("it is not a certificate")
    tag, fields, _ = element(certificate, 0)
    tag, _, at = element(fields, 0)
    if tag == EXPLICIT_VERSION:
        _, _, at = element(fields, at)
    for _skipped in ("signature algorithm", "issuer"):
        _, _, at = element(fields, at)
    tag, dates, _ = element(fields, at)
    if tag != SEQUENCE:
        raise ValueError("it has no validity")
    tag, content, at = element(dates, 0)
    begins = moment(tag, content)
    tag, content, _ = element(dates, at)
    return begins, moment(tag, content)


def look_at(path: Path, warn_days: int, today: datetime) -> list[dict[str, object]]:
    """What is known about each certificate in a file; an unreadable file is one entry with its problem."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ValueError("it is larger than 1 MiB")
        blocks = PEM.findall(path.read_text(encoding="ascii"))
        if not blocks:
            raise ValueError("it holds no certificate")
        found = []
        for block in blocks:
            begins, ends = validity(base64.b64decode("".join(block.split()), validate=True))
            days = (ends - today).days
            state = "expired" if ends <= today else "not yet valid" if begins > today else "ok"
            if state == "ok" and days < warn_days:
                state = "expires soon"
            found.append({"file": path.name, "state": state, "not_after": ends.isoformat(), "days_left": days})
        return found
    except (OSError, ValueError) as problem:
        return [{"file": path.name, "state": "unreadable", "problem": str(problem)}]


def told(entry: dict[str, object]) -> str:
    """The second half of a certificate's line for people."""
    return str(entry["problem"]) if "problem" in entry else f"until {entry['not_after']} ({entry['days_left']} days)"


def main() -> int:
    """Report on every certificate found; the exit status is 0, what to make of the report is the playbook's part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warn-days", type=int, default=30)
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    today = datetime.now(UTC)
    paths = [path for folder in options.folders for kind in ("*.pem", "*.crt") for path in sorted(folder.glob(kind))]
    found = [entry for path in paths for entry in look_at(path, options.warn_days, today)]
    summary = [f"{entry['file']}: {entry['state']}, {told(entry)}" for entry in found]
    print(json.dumps({"checked": len(found), "certificates": found, "summary": summary}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
