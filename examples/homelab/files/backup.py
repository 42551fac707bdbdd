"""Pack a folder into a dated archive unless an archive with the same content is there: `backup.py SOURCE TARGET --keep N`.

Prints `{"changed", "archive", "files", "bytes", "removed"}`. The archive's name carries a hash of the content, so a second run
without a change in SOURCE does nothing. The oldest archives beyond N are removed. Standard library only.
"""

import argparse
import hashlib
import json
import sys
import tarfile
import time
from pathlib import Path


def content_hash(files: list[Path], source: Path) -> str:
    """One hash over every file's place and bytes."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(json.dumps(str(path.relative_to(source))).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def main() -> int:
    """Make the backup; 1 with one sentence when there is nothing to back up or the folders cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--keep", type=int, default=7)
    options = parser.parse_args()
    if not options.source.is_dir():
        print(f"There is nothing to back up: {options.source} does not exist.", file=sys.stderr)
        return 1
    if options.keep < 1:
        print("At least one archive must be kept: --keep is 1 or more.", file=sys.stderr)
        return 1
    files = sorted(p for p in options.source.rglob("*") if p.is_file() and not p.is_symlink())
    options.target.mkdir(parents=True, exist_ok=True)
    prefix = options.source.name
    fingerprint = content_hash(files, options.source)
    archives = sorted(options.target.glob(f"{prefix}-*.tar.gz"))
    archive = next((known for known in archives if known.name.endswith(f"-{fingerprint}.tar.gz")), None)
    changed = archive is None
    if archive is None:
        archive = options.target / f"{prefix}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{fingerprint}.tar.gz"
        unfinished = archive.with_suffix(".part")
        with tarfile.open(unfinished, "w:gz") as tar:
            for path in files:
                tar.add(path, arcname=str(Path(prefix, path.relative_to(options.source))))
        unfinished.replace(archive)
        archives.append(archive)
    surplus = [old for old in archives[: -options.keep] if old != archive]
    for old in surplus:
        old.unlink()
    result = {
        "changed": changed or bool(surplus),
        "archive": str(archive),
        "files": len(files),
        "bytes": archive.stat().st_size,
        "removed": [old.name for old in surplus],
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
