"""What is wrong with a rule, in words for the person who can mend it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """About one key of one rule. An error keeps the rule out of force; a warning has to be accepted."""

    rule_id: str
    key: str
    value: object  # JSON-able, as a person would write it
    severity: Severity
    text: str
    text_zh: str
    remedy: str
    remedy_zh: str

    def line(self) -> str:
        """Rule, key, value, what is wrong and the remedy."""
        return f"rule {self.rule_id}: {self.key} = {_shown(self.value)}: {self.text}; {self.remedy}"

    def line_zh(self) -> str:
        return f"规则 {self.rule_id}：{self.key} = {_shown(self.value)}：{self.text_zh}；{self.remedy_zh}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= 60 else text[:60] + "…"
