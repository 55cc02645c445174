"""As much of the Kusto Query Language as docs/operations.md uses, to run its queries over records that are at hand.

It is no Kusto. It is strict where Kusto would be, and where a query would silently find nothing: a column that does not
exist, a function nobody knows, a comparison of a dynamic value. `paths` tells which members of `r` a query reads.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

type Row = dict[str, Any]
type Expression = tuple[Any, ...]

_TOKEN = re.compile(
    r"""\s*(?:('[^']*'|"[^"]*")|(\d+[smhd])\b|(\d+(?:\.\d+)?(?:e\d+)?)|([A-Za-z_]\w*)|(==|!=|<=|>=|[^\s]))"""
)
_TIMES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_COMPARISONS = ("==", "!=", "<", ">", "<=", ">=", "in", "has", "startswith")


class Wrong(Exception):
    """The query is not what this language allows."""


class Dynamic:
    """A value of type dynamic: it has to be cast before it is compared or grouped."""

    def __init__(self, value: Any) -> None:
        self.value = value


# From text to expressions


@dataclass
class _Reader:
    tokens: list[tuple[str, Any]]
    at: int = 0

    def peek(self) -> Any:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else None

    def take(self, *wanted: str) -> Any:
        if self.at >= len(self.tokens) or (wanted and self.peek() not in wanted):
            raise Wrong(f"expected {wanted}, found {self.peek()!r}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def takes(self, *wanted: str) -> bool:
        found = self.at < len(self.tokens) and self.tokens[self.at][0] != "text" and self.peek() in wanted
        self.at += found
        return found

    def name(self) -> str:
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
            raise Wrong(f"expected a name, found {self.peek()!r}")
        return str(self.take())

    def disjunction(self) -> Expression:
        left = self.conjunction()
        while self.takes("or"):
            left = ("or", left, self.conjunction())
        return left

    def conjunction(self) -> Expression:
        left = self.comparison()
        while self.takes("and"):
            left = ("and", left, self.comparison())
        return left

    def comparison(self) -> Expression:
        left = self.sum()
        for operator in _COMPARISONS:
            if self.takes(operator):
                return (operator, left, self.list() if operator == "in" else self.sum())
        return left

    def sum(self) -> Expression:
        left = self.product()
        while self.peek() in ("+", "-"):
            left = (self.take(), left, self.product())
        return left

    def product(self) -> Expression:
        left = self.primary()
        while self.peek() in ("*", "/"):
            left = (self.take(), left, self.primary())
        return left

    def primary(self) -> Expression:
        if self.takes("("):
            inner = self.disjunction()
            self.take(")")
            return inner
        if self.at < len(self.tokens) and self.tokens[self.at][0] in ("text", "number", "time"):
            return ("constant", self.take())
        name = self.name()
        if self.peek() == "(":
            return ("call", name, *self.list()[1:])
        path: Expression = ("column", name)
        while self.takes("."):
            path = ("member", path, self.name())
        return path

    def list(self) -> Expression:
        self.take("(")
        items = []
        while not self.takes(")"):
            items.append(self.disjunction())
            if self.peek() != ")":
                self.take(",")
        return ("list", *items)

    def named(self) -> tuple[str, Expression]:
        """`name = expression`, or an expression that names itself."""
        begin = self.at
        if self.tokens[self.at][0] == "name" and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1][1] == "=":
            name = self.name()
            self.take("=")
            return name, self.disjunction()
        found = self.disjunction()
        match found:
            case ("column", name):
                return name, found
            case ("call", "bin", ("column", name), _):
                return name, found
        raise Wrong(f"an expression without a name: {self.tokens[begin : self.at]}")

    def all_named(self) -> dict[str, Expression]:
        found = dict([self.named()])
        while self.takes(","):
            name, expression = self.named()
            if name in found:
                raise Wrong(f"{name} is there twice")
            found[name] = expression
        return found


def _tokens(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match
        quoted, time, number, name, symbol = match.groups()
        if quoted:
            found.append(("text", quoted[1:-1]))
        elif time:
            found.append(("time", timedelta(**{_TIMES[time[-1]]: int(time[:-1])})))
        elif number:
            found.append(("number", float(number) if re.search(r"[.e]", number) else int(number)))
        else:
            found.append(("name", name) if name else ("symbol", symbol))
        at = match.end()
    return found


def _steps(query: str) -> list[_Reader]:
    """The table and the operators of a query, each on a line of its own as the document has them."""
    first, *rest = query.strip().splitlines()
    if not all(line.startswith("| ") for line in rest):
        raise Wrong("every operator has a line of its own")
    return [_Reader(_tokens(line.removeprefix("| "))) for line in (first, *rest)]


# Running


def _cast(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def cast(value: Any) -> Any:
        inner = value.value if isinstance(value, Dynamic) else value
        return None if inner is None else convert(inner)

    return cast


def _text(value: Any) -> str:
    inner = value.value if isinstance(value, Dynamic) else value
    if inner is None:
        return ""
    return json.dumps(inner, separators=(",", ":")) if isinstance(inner, list | dict) else str(inner)


def _bin(value: Any, size: Any) -> Any:
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    return begin + math.floor((value - begin) / size) * size


def _is_null(value: Any) -> bool:
    return (value.value if isinstance(value, Dynamic) else value) is None


def _extract(pattern: str, group: int, text: str) -> str:
    found = re.search(pattern, text)
    return found[group] if found else ""


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "parse_json": lambda text: Dynamic(json.loads(text)),
    "tostring": _text,
    "toint": _cast(int),
    "tolong": _cast(int),
    "tobool": _cast(bool),
    "strcat": lambda *texts: "".join(map(_text, texts)),
    "substring": lambda text, begin, length: text[begin : begin + length],
    "extract": _extract,
    "not": lambda value: None if value is None else not value,
    "isnotnull": lambda value: not _is_null(value),
    "isnotempty": lambda value: _text(value) != "",
    "bin": _bin,
}


def _known(values: Iterable[Any]) -> list[Any]:
    return [each for each in values if each is not None]


def _percentile(values: Sequence[Any], percents: Sequence[Any]) -> Any:
    ordered = sorted(_known(values))
    return ordered[max(0, math.ceil(len(ordered) * percents[0] / 100) - 1)] if ordered else None


_AGGREGATES: dict[str, Callable[..., Any]] = {
    "count": lambda: None,  # the number of rows; see _aggregate
    "countif": lambda values: sum(value is True for value in values),
    "sum": lambda values: sum(_known(values)),
    "avg": lambda values: sum(_known(values)) / len(_known(values)) if _known(values) else None,
    "min": lambda values: min(_known(values), default=None),
    "max": lambda values: max(_known(values), default=None),
    "percentile": _percentile,
}


def _plain(value: Any) -> Any:
    if isinstance(value, Dynamic):
        raise Wrong("a dynamic value has to be cast first")
    return value


def _calculate(operator: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left // right if isinstance(left, int) and isinstance(right, int) else left / right
    raise Wrong(operator)


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case ">":
            return bool(left > right)
        case "<=":
            return bool(left <= right)
        case ">=":
            return bool(left >= right)
        case "startswith":
            return bool(left.lower().startswith(right.lower()))
        case "has":
            return re.search(rf"(?<![^\W_]){re.escape(right)}(?![^\W_])", left, re.IGNORECASE) is not None
    raise Wrong(operator)


def _value(expression: Expression, row: Row) -> Any:
    match expression:
        case ("constant", value):
            return value
        case ("column", name):
            if name not in row:
                raise Wrong(f"there is no column {name}")
            return row[name]
        case ("member", inner, name):
            whole = _value(inner, row)
            if not isinstance(whole, Dynamic):
                raise Wrong(f"only dynamic values have members, not {inner}")
            return Dynamic(whole.value.get(name) if isinstance(whole.value, dict) else None)
        case ("call", name, *arguments):
            if name not in _FUNCTIONS:
                raise Wrong(f"there is no function {name}")
            return _FUNCTIONS[name](*(_value(each, row) for each in arguments))
        case ("and" | "or" as operator, left, right):
            values = [_value(left, row) is True, _value(right, row) is True]
            return all(values) if operator == "and" else any(values)
        case ("in", left, ("list", *items)):
            return _plain(_value(left, row)) in [_value(each, row) for each in items]
        case (operator, left, right):
            pair = _plain(_value(left, row)), _plain(_value(right, row))
            return (_compare if operator in _COMPARISONS else _calculate)(operator, *pair)
    raise Wrong(f"not an expression: {expression}")


def _aggregate(expression: Expression, rows: Sequence[Row]) -> Any:
    match expression:
        case ("call", "count"):
            return len(rows)
        case ("call", name, inner, *rest) if name in _AGGREGATES:
            values = [_plain(_value(inner, row)) for row in rows]
            return _AGGREGATES[name](values, *([[_value(each, {}) for each in rest]] if rest else []))
        case ("+" | "-" | "*" | "/" as operator, left, right):
            return _calculate(operator, _aggregate(left, rows), _aggregate(right, rows))
        case ("constant", value):
            return value
    raise Wrong(f"not an aggregate: {expression}")


def _sorted(rows: list[Row], step: _Reader) -> list[Row]:
    order = []
    while True:
        order.append((step.name(), step.take("asc", "desc")))
        if not step.takes(","):
            break
    for name, direction in reversed(order):
        rows = sorted(rows, key=lambda row: row[name], reverse=direction == "desc")
    return rows


def _summarized(rows: list[Row], step: _Reader) -> list[Row]:
    aggregates = step.all_named()
    keys = step.all_named() if step.takes("by") else {}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(_plain(_value(each, row)) for each in keys.values()), []).append(row)
    return [
        dict(zip(keys, values, strict=True)) | {name: _aggregate(each, group) for name, each in aggregates.items()}
        for values, group in groups.items()
    ]


def run(query: str, tables: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows a query finds. Raises Wrong where it cannot be right."""
    source, *steps = _steps(query)
    rows = [dict(row) for row in tables[source.name()]]
    for step in steps:
        match step.name():
            case "where":
                condition = step.disjunction()
                rows = [row for row in rows if _value(condition, row) is True]
            case "extend":
                # What one step makes, its other expressions do not see.
                made = step.all_named()
                rows = [row | {name: _value(each, row) for name, each in made.items()} for row in rows]
            case "project":
                chosen = step.all_named()
                rows = [{name: _plain(_value(each, row)) for name, each in chosen.items()} for row in rows]
            case "summarize":
                rows = _summarized(rows, step)
            case "order":
                step.take("by")
                rows = _sorted(rows, step)
            case "top":
                number = step.take()
                step.take("by")
                rows = _sorted(rows, step)[:number]
            case "render":
                step.take("timechart")
            case other:
                raise Wrong(f"there is no operator {other}")
        if step.peek() is not None:
            raise Wrong(f"nobody reads {step.tokens[step.at :]}")
    return rows


def paths(query: str) -> set[str]:
    """The members of `r` that a query reads, such as `did.notes`."""
    return {
        each.removeprefix("r.") for each in re.findall(r"\br(?:\.\w+)+", re.sub(r"'[^']*'|\"[^\"]*\"", "''", query))
    }
