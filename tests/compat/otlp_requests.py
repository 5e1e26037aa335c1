"""Reads requests of OTLP in JSON, one a line, by the protocol's own definition. What is not in it is an error."""

import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

records = 0
for line in sys.stdin:
    request = json_format.Parse(line, ExportLogsServiceRequest())
    for resource in request.resource_logs:
        names = {attribute.key for attribute in resource.resource.attributes}
        assert {"service.name", "service.instance.id"} <= names, names
        for scope in resource.scope_logs:
            assert scope.scope.name == "moltbot.ledger", scope.scope
            for record in scope.log_records:
                attributes = {one.key: one.value for one in record.attributes}
                assert attributes["moltbot.seq"].int_value > 0, record
                assert attributes["log.record.uid"].string_value.endswith(f"/{attributes['moltbot.seq'].int_value}")
                assert record.event_name and record.body.string_value and record.time_unix_nano, record
                assert 1 <= record.severity_number <= 24, record
                records += 1
print(f"passed {records}")
