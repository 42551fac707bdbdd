"""What people write: remarks and reasons, and the digest that they answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from audit.http import Given

LONGEST_REMARK = 4_000
Text = Annotated[str, Field(max_length=200_000)]  # how long a request may be is the service's to say
Remark = Annotated[str, Field(max_length=LONGEST_REMARK)]
Digest = Annotated[str, Field(max_length=200, description="The digest of what you have seen, 64 hexadecimal digits.")]


class ReasonGiven(Given):
    """Why."""

    reason: Remark = ""


class ReasonNeeded(Given):
    """Why; it is kept in the trail."""

    reason: Remark
