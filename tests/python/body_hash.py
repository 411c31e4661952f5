"""The hash that binds an idempotency key to a body, written from the comment on `Command` in ledger.proto and nothing else."""

from blake3 import blake3
from google.protobuf.descriptor import FieldDescriptor

SIGNED = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_ENUM,
}
UNSIGNED = {FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_BOOL}

# The number under which a request of AdminService or AuditService is hashed.
ADMIN_NUMBERS = {
    "PutProgramRequest": 1,
    "FundCampaignRequest": 2,
    "PauseCampaignRequest": 3,
    "ResumeCampaignRequest": 4,
    "CloseCampaignRequest": 5,
    "CreateSnapshotRequest": 6,
    "DeleteSnapshotRequest": 7,
    "ConfirmClockRequest": 8,
    "PutRewardRequest": 9,
    "ClosePeriodRequest": 10,
}


def varint(value):
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        if value == 0:
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def field(number, content):
    return varint(number) + varint(len(content)) + content


def scalar(kind, value):
    if kind == FieldDescriptor.TYPE_STRING:
        return value.encode()
    if kind == FieldDescriptor.TYPE_BYTES:
        return value
    if kind in UNSIGNED:
        return varint(int(value))
    if kind in SIGNED:
        return varint((value << 1) ^ (value >> 63) if value >= 0 else ((-value) << 1) - 1)
    raise TypeError(f"field type {kind} is not in the contract")


def is_map(descriptor):
    return descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry


def map_entries(descriptor, entries):
    key, value = (descriptor.message_type.fields_by_name[name] for name in ("key", "value"))
    for name, held in sorted(entries.items(), key=lambda entry: entry[0].encode()):
        content = b""
        if name:
            content += field(1, scalar(key.type, name))
        if held:
            content += field(2, scalar(value.type, held))
        yield content


def encode(message, without=()):
    """The canonical encoding of `message`, leaving out the fields named in `without`."""
    out = b""
    for descriptor, value in sorted(message.ListFields(), key=lambda pair: pair[0].number):
        if descriptor.name in without:
            continue
        if is_map(descriptor):
            contents = map_entries(descriptor, value)
        else:
            values = value if hasattr(value, "extend") else [value]
            whole = descriptor.type == FieldDescriptor.TYPE_MESSAGE
            contents = [encode(one) if whole else scalar(descriptor.type, one) for one in values]
        for content in contents:
            out += field(descriptor.number, content)
    return out


def command_body(command):
    """The bytes that a command's hash is taken over."""
    return b"body/v1\0" + encode(command, without=("key",))


def admin_body(request):
    """The bytes that the hash of an operator's request is taken over."""
    number = ADMIN_NUMBERS[request.DESCRIPTOR.name]
    return b"admin/v1" + field(number, encode(request, without=("key",)))


def short_hash(body):
    """16 bytes of BLAKE3."""
    return blake3(body).digest()[:16]
