"""What is sent and answered about paired screens."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

_Name = Annotated[str, Field(min_length=1, max_length=100)]


class NewScreen(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: _Name
    scope: str | None = Field(
        None, max_length=100, description="code of a street, community or cell; null = all"
    )
    expires_at: AwareDatetime | None = Field(
        None, description="a fixed end; left out, the screen renews itself while it is in use"
    )


class ScreenChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: _Name | None = None
    scope: str | None = Field(None, max_length=100, description="null = the district")
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _something(self) -> "ScreenChange":
        if not self.model_fields_set:
            raise ValueError("give name, scope or expires_at")
        return self


class Pairing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    secret: str = Field(min_length=20, max_length=100, description="what stands behind #pair= in the address")


class ScreenRow(TypedDict):
    id: int
    name: str
    scope: str | None
    scope_name: str | None
    renews: bool
    expires_at: datetime
    state: Literal["waiting", "active", "expired", "revoked"]
    created_by: str
    created_at: datetime
    paired_at: datetime | None
    last_seen_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    version: int


class PairingAddress(TypedDict):
    address: str
    until: datetime


class ScreenMade(TypedDict):
    screen: ScreenRow
    pairing: PairingAddress | None


class ScreenPage(TypedDict):
    items: list[ScreenRow]
    next: str | None


class ScreenPaired(TypedDict):
    name: str
    scope: str | None
    expires_at: datetime
