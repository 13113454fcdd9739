"""A DynamoDB table: batch reads, conditional writes and paged queries. Knows nothing of what its items mean.

In expressions, `#name` stands for the attribute `name` and `:value` for the keyword argument `value`. Items hold plain
Python values; numbers come back as Decimal. Every method raises StorageError where AWS refuses or fails.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar, cast

from pullahead.aws.attribute_values import decode_value, encode_value
from pullahead.aws.back_off import wait_between_tries
from pullahead.aws.errors import error_code, storage_errors
from pullahead.clock import Wait
from pullahead.errors import StorageError
from pullahead.mirrors.stored_form import NewerFormError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = Mapping[str, Any]

_BATCH: Final = 100  # DynamoDB API reference, BatchGetItem: up to 100 items a call, 16 MB of them
_MAX_TRIES: Final = 4
_MAX_QUERY_PAGES: Final = 200  # of at most 1 MB: DynamoDB API reference, Query
_MAX_SCAN_PAGES: Final = 2000  # of at most 1 MB: DynamoDB API reference, Scan
_PLACEHOLDER: Final = re.compile(r"#(\w+)")
_INVALID: Final = "ValidationException"  # also where an attribute is of another type than an expression assumes
_CONDITION_FAILED: Final = "ConditionalCheckFailed"
_EXPECTED_REASONS: Final = frozenset({"None", _CONDITION_FAILED, "TransactionConflict"})
_MAX_TEXT: Final = 390_000  # DynamoDB quotas: 400 KB an item; what is longer could not be written again
_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})
_T = TypeVar("_T")


class Index(NamedTuple):
    """An index of the table, and the attributes that are its partition key and its sort key. In it are the items that
    have its keys."""

    name: str
    key: str
    sorted_by: str


LINES: Final = Index("Lines", "line", "since")
REVIEWS: Final = Index("Reviews", "review_shard", "review_since")  # holds `pk` and `record` besides


class Write(NamedTuple):
    """One of several conditional writes: a transaction's `Put`, `Update` or `Delete`, as the API takes it."""

    operation: Literal["Put", "Update", "Delete"]
    asked: Mapping[str, Any]
    values: Mapping[str, object] = MappingProxyType({})
    names: Mapping[str, str] = MappingProxyType({})


def put_write(item: Item, condition: str) -> Write:
    """Write an item if the stored one meets the condition."""
    return Write("Put", {"Item": _encode(item), "ConditionExpression": condition})


def delete_write(key: str, condition: str, **values: object) -> Write:
    """Delete an item if it meets the condition."""
    return Write("Delete", {"Key": _key(key), "ConditionExpression": condition}, values)


def update_write(key: str, expression: str, condition: str, names: Mapping[str, str], **values: object) -> Write:
    """Update an item if it meets the condition; `names` as for `Table.update_if`."""
    asked = {"Key": _key(key), "UpdateExpression": expression, "ConditionExpression": condition}
    return Write("Update", asked, values, names)


class _ConditionFailedError(Exception):
    """A conditional write changed nothing. `item`: what is stored, as far as DynamoDB was asked to return it."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


class Table:
    """A table with the key `pk`, and its indexes.

    `what` names the items in errors. `wait` comes before what DynamoDB left out is read again. For several threads.
    """

    def __init__(self, client: "DynamoDBClient", name: str, wait: Wait = wait_between_tries) -> None:
        self._client, self._name, self._wait = client, name, wait

    def get_many(self, keys: Iterable[str], what: str, *, consistent: bool = True) -> Iterator[Item]:
        """Read the items that exist, each once, batch by batch; an eventually consistent read costs half."""
        unique = iter(dict.fromkeys(keys))
        while batch := list(islice(unique, _BATCH)):
            wanted: dict[str, Any] = {"Keys": [_key(key) for key in batch]}
            yield from self._get_batch(wanted | ({"ConsistentRead": True} if consistent else {}), what)

    def get(self, key: str, what: str) -> Item | None:
        """Read an item, strongly consistent; None if there is none. Also by BatchGetItem, so one permission reads."""
        return next(self.get_many([key], what), None)

    def put(self, item: Item, what: str) -> None:
        """Write an item."""
        self._write("put_item", what, {"Item": _encode(item)})

    def put_or_return(self, item: Item, what: str, condition: str, **values: object) -> Item | None:
        """Write an item if the stored one meets the condition. Return None, or the item that does not; empty: there is
        none."""
        asked = {"Item": _encode(item), "ConditionExpression": condition}
        asked["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            self._write("put_item", what, asked, values)
        except _ConditionFailedError as refusal:
            return refusal.item
        return None

    def put_if(self, item: Item, what: str, condition: str, **values: object) -> bool:
        """Write an item if the stored one meets the condition; return whether it did."""
        return self._write_if("put_item", what, {"Item": _encode(item), "ConditionExpression": condition}, values)

    def delete_if(self, key: str, what: str, condition: str, **values: object) -> bool:
        """Delete an item if it meets the condition; return whether it did."""
        return self._write_if("delete_item", what, {"Key": _key(key), "ConditionExpression": condition}, values)

    def update(self, key: str, what: str, expression: str, **values: object) -> None:
        """Update an item, or create it."""
        self._write("update_item", what, {"Key": _key(key), "UpdateExpression": expression}, values)

    def update_if(
        self,
        key: str,
        what: str,
        expression: str,
        condition: str,
        names: Mapping[str, str] = _NO_NAMES,
        **values: object,
    ) -> Item | None:
        """Update an item if it meets the condition. Return None, or the item that does not; empty: there is none.

        `names`: attributes whose placeholders are called otherwise.
        """
        asked = {"Key": _key(key), "UpdateExpression": expression, "ConditionExpression": condition}
        asked["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            self._write("update_item", what, asked, values, names)
        except _ConditionFailedError as refusal:
            return refusal.item
        return None

    def write_all(self, writes: Sequence[Write], what: str) -> tuple[Item | None, ...] | None:
        """Make several conditional writes, or none of them. Return None if they were made.

        Else return for each write the stored item that does not meet its condition, empty if there is none, or None
        where the condition was met. All are None where another write of one of the items was under way: try again.
        """
        items = [
            {
                write.operation: {
                    "TableName": self._name,
                    **write.asked,
                    **_placeholders(write.asked, write.values, write.names),
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
            for write in writes
        ]
        try:
            with storage_errors("write", what):
                self._client.transact_write_items(TransactItems=cast("Any", items))
        except StorageError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            canceled: Any = error.__cause__
            reasons = canceled.response.get("CancellationReasons", [])
            if {reason.get("Code") for reason in reasons} - _EXPECTED_REASONS:
                raise
            return tuple(
                _decode(reason.get("Item") or {}) if reason.get("Code") == _CONDITION_FAILED else None
                for reason in reasons
            )
        return None

    def replace(self, item: Item, what: str, stored: Item) -> bool:
        """Write an item in place of one that was read, if that is unchanged; return whether it is written."""
        condition, values = unchanged(stored)
        return self.put_if(item, what, condition, **values)

    def add_to_set(self, key: str, attribute: str, value: str, what: str) -> None:
        """Add a text to a set, or begin it anew where the attribute holds none.

        A map or a list is left as it is, since a newer version may have written it: that is a StorageError.
        """
        self._change_set(key, attribute, f"ADD #{attribute} :value", f"SET #{attribute} = :value", value, what)

    def remove_from_set(self, key: str, attribute: str, value: str, what: str) -> None:
        """Remove a text from a set, or the attribute where it holds none; a map or a list as `add_to_set` does."""
        self._change_set(key, attribute, f"DELETE #{attribute} :value", f"REMOVE #{attribute}", value, what)

    def _change_set(self, key: str, attribute: str, change: str, anew: str, value: str, what: str) -> None:
        try:
            self.update(key, what, change, value={value})
        except StorageError as error:
            if error_code(error) != _INVALID:
                raise
            types = {"texts": "SS", "map": "M", "list": "L"}
            is_damaged = " AND ".join(f"NOT attribute_type(#{attribute}, :{name})" for name in types)
            values: dict[str, object] = {**types, **({"value": {value}} if ":value" in anew else {})}
            if self.update_if(key, what, anew, is_damaged, _NO_NAMES, **values) is not None:
                raise

    def add(
        self,
        key: str,
        attribute: str,
        what: str,
        expires_at: datetime,
        limit: int | None = None,
        count: int = 1,
        damaged: Callable[[str, str], None] | None = None,
    ) -> int | None:
        """Add to a counter and return the sum; None, and no change, if it would exceed the limit.

        A counter that holds no number begins anew, and `damaged` is called with its key and the reason.
        """
        expression = f"ADD #{attribute} :count SET #expires_at = if_not_exists(#expires_at, :expires_at)"
        asked = {"Key": _key(key), "UpdateExpression": expression, "ReturnValues": "UPDATED_NEW"}
        values: dict[str, object] = {"count": count, "expires_at": epoch(expires_at)}
        if limit is not None:
            is_damaged = f"NOT attribute_type(#{attribute}, :number)"  # then DynamoDB cannot add, and says so
            left = f"attribute_not_exists(#{attribute}) OR {is_damaged} OR #{attribute} <= :left"
            asked["ConditionExpression"] = left
            values |= {"left": limit - count, "number": "N"}
        try:
            answer = self._write("update_item", what, asked, values)
        except _ConditionFailedError:
            return None
        except StorageError as error:
            if error_code(error) != _INVALID or damaged is None:
                raise
            damaged(key, f"its {attribute} is no number")
            return self._begin_again(key, attribute, what, expires_at, count)
        return int(answer["Attributes"][attribute]["N"])

    def _begin_again(self, key: str, attribute: str, what: str, expires_at: datetime, count: int) -> int:
        """Let a counter that holds no number begin at `count`; if another process was faster, do not count."""
        self.update_if(
            key,
            what,
            f"SET #{attribute} = :count, #expires_at = :expires_at",
            f"NOT attribute_type(#{attribute}, :number)",
            count=count,
            expires_at=epoch(expires_at),
            number="N",
        )
        return count

    def query(
        self, key: str, what: str, page_size: int | None = None, *, index: Index = LINES, until: str | None = None
    ) -> Iterator[Item]:
        """Read the items of one partition key of an index, oldest first, page by page as they are asked for; only those
        up to a value of the sort key, where it is given."""
        for page in self._query(index, key, what, {} if page_size is None else {"Limit": page_size}, until):
            yield from map(_decode, page["Items"])

    def count(self, key: str, what: str, *, index: Index = LINES) -> int:
        """Count the items of one partition key of an index."""
        return sum(page["Count"] for page in self._query(index, key, what, {"Select": "COUNT"}))

    def scan(self, prefix: str, attributes: Sequence[str], what: str, *, after: str = "") -> Iterator[Item]:
        """Read `pk` and attributes of all items whose key begins with a prefix, page by page as they are asked for.

        Eventually consistent, at half the price. `after`: the key of the item after which to go on, which need not
        exist any more.
        """
        more = {"ExclusiveStartKey": _key(after)} if after else {}
        for page in self._scan(prefix, attributes, what, more):
            yield from map(_decode, page["Items"])

    def scan_in_parallel(self, prefix: str, attributes: Sequence[str], what: str, segments: int) -> Iterator[Item]:
        """Read what `scan` reads, by several requests at once; one page of each segment is held, or on its way."""
        each = ({"Segment": number, "TotalSegments": segments} for number in range(segments))
        with ThreadPoolExecutor(segments) as pool:
            readers = (self._scan(prefix, attributes, what, segment) for segment in each)
            waiting = {pool.submit(next, reader, None): reader for reader in readers}
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for reader, page in [(waiting.pop(future), future.result()) for future in done]:
                    if page is not None:
                        waiting[pool.submit(next, reader, None)] = reader
                        yield from map(_decode, page["Items"])

    def _scan(self, prefix: str, attributes: Sequence[str], what: str, more: Mapping[str, Any]) -> Iterator[Any]:
        selected = ", ".join(("pk", *(f"#{name}" for name in attributes)))
        asked: dict[str, Any] = {"FilterExpression": "begins_with(pk, :prefix)", "ProjectionExpression": selected}
        asked["Select"] = "SPECIFIC_ATTRIBUTES"  # a policy can require it, so that nothing else can be read
        return self._pages("scan", what, {**asked, **more}, {"prefix": prefix}, _MAX_SCAN_PAGES)

    def _get_batch(self, wanted: Any, what: str) -> Iterator[Item]:
        unprocessed = {self._name: wanted}
        for tried in range(_MAX_TRIES):
            if tried:  # DynamoDB API reference, BatchGetItem: at once, it may be left out again
                self._wait(tried)
            with storage_errors("read", what):
                answer: Any = self._client.batch_get_item(RequestItems=unprocessed)
            yield from map(_decode, answer["Responses"].get(self._name, []))
            unprocessed = answer.get("UnprocessedKeys")
            if not unprocessed:
                return
        raise StorageError(f"read of {what} failed: DynamoDB left keys unprocessed {_MAX_TRIES} times")

    def _write_if(self, operation: str, what: str, asked: Mapping[str, Any], values: Mapping[str, object]) -> bool:
        try:
            self._write(operation, what, asked, values)
        except _ConditionFailedError:
            return False
        return True

    def _write(
        self,
        operation: str,
        what: str,
        asked: Mapping[str, Any],
        values: Mapping[str, object] = _NO_NAMES,
        names: Mapping[str, str] = _NO_NAMES,
    ) -> Any:
        """Write, and return the answer. Raises _ConditionFailedError besides StorageError."""
        try:
            with storage_errors("write", what):
                return self._call(operation, asked, values, names)
        except StorageError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            refusal: Any = error.__cause__
            raise _ConditionFailedError(_decode(refusal.response.get("Item") or {})) from error

    def _query(
        self, index: Index, key: str, what: str, more: Mapping[str, Any], until: str | None = None
    ) -> Iterator[Any]:
        condition, values = f"#{index.key} = :key", {"key": key}
        if until is not None:
            condition, values = f"{condition} AND #{index.sorted_by} <= :until", {**values, "until": until}
        asked = {"IndexName": index.name, "KeyConditionExpression": condition, **more}
        return self._pages("query", what, asked, values, _MAX_QUERY_PAGES)

    def _pages(
        self, operation: str, what: str, asked: Mapping[str, Any], values: Mapping[str, object], most: int
    ) -> Iterator[Any]:
        position: dict[str, Any] = {}
        for _ in range(most):
            with storage_errors("read", what):
                answer = self._call(operation, {**asked, **position}, values)
            yield answer
            if not answer.get("LastEvaluatedKey"):
                return
            position = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        raise StorageError(f"read of {what} failed: more than {most} pages")

    def _call(
        self,
        operation: str,
        asked: Mapping[str, Any],
        values: Mapping[str, object],
        names: Mapping[str, str] = _NO_NAMES,
    ) -> Any:
        return getattr(self._client, operation)(TableName=self._name, **asked, **_placeholders(asked, values, names))


def _placeholders(asked: Mapping[str, Any], values: Mapping[str, object], names: Mapping[str, str]) -> dict[str, Any]:
    """Say what the placeholders of a request's expressions stand for."""
    expressions = " ".join(text for name, text in asked.items() if name.endswith("Expression"))
    placeholders: dict[str, Any] = {}
    if used := _PLACEHOLDER.findall(expressions):  # DynamoDB accepts neither of the two empty
        placeholders["ExpressionAttributeNames"] = {f"#{name}": names.get(name, name) for name in used}
    if values:
        placeholders["ExpressionAttributeValues"] = {f":{name}": encode_value(each) for name, each in values.items()}
    return placeholders


def unchanged(item: Item) -> tuple[str, Mapping[str, object]]:
    """Write the condition that an item that was read is still the same, with its values."""
    names = [name for name in item if name != "pk"]
    condition = " AND ".join(["attribute_exists(pk)", *(f"#{name} = :was_{name}" for name in names)])
    return condition, {f"was_{name}": item[name] for name in names}


def epoch(moment: datetime) -> int:
    """Write a time as the table's time to live wants it."""
    return int(moment.timestamp())


def iso_text(moment: datetime) -> str:
    """Write a time so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def decode_attribute(item: Item, name: str, known: Set[str], decode: Callable[[str], _T]) -> _T:
    """Decode an attribute that holds JSON. Raises NewerFormError, and DamagedItemError for what cannot be read.

    `known`: the attributes that an item may have. One without the text, but with others, is of a newer version.
    """
    text = item.get(name)
    if isinstance(text, Mapping | list) or (text is None and item.keys() - known):
        raise NewerFormError(f"its {name} is no text")
    if not isinstance(text, str):
        raise DamagedItemError(f"its {name} is {'missing' if text is None else 'no text'}")
    if len(text) > _MAX_TEXT:
        raise DamagedItemError(f"its {name} has {len(text)} characters, more than {_MAX_TEXT}")
    try:
        return decode(text)
    except NewerFormError:
        raise
    except Exception as error:  # whatever is wrong with one item, the others are read
        raise DamagedItemError(f"{type(error).__name__}: {error}") from error


def moment_of(item: Item, name: str) -> datetime:
    """Read a time. Raises DamagedItemError."""
    try:
        moment = datetime.fromisoformat(item[name])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedItemError(f"its {name} is no time") from error
    if moment.tzinfo is None:
        raise DamagedItemError(f"its {name} has no time zone")
    return moment


def text_of(item: Item, name: str, default: str | None = None) -> str:
    """Read a text. Raises DamagedItemError."""
    text = item.get(name, default)
    if not isinstance(text, str) or (not text and default is None):
        raise DamagedItemError(f"its {name} is {'no text' if text else 'missing'}")
    return text


class DamagedItemError(Exception):
    """An item cannot be read, and no newer version has written it. Adapters let no such error out."""


def _key(key: str) -> Any:
    return {"pk": {"S": key}}


def _encode(item: Item) -> Any:
    return {name: encode_value(value) for name, value in item.items()}


def _decode(item: Mapping[str, Any]) -> Item:
    return {name: decode_value(value) for name, value in item.items()}
