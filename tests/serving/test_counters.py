"""Counters in Prometheus' text format."""

import re

from fcn_tf.serving.counters import Counters

_SAMPLE = r'fcn_tf_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+'


def test_the_text_by_hand():
    counters = Counters()
    for status, seconds in ((200, 0.5), (429, 0.25), (200, 1.25)):
        counters.request("/v1/segment", status, seconds)
    for pictures in (1, 3, 8):
        counters.batch(pictures, 0.5)
    text = counters.text(queue_length=4, requests_open=7)
    lines = text.splitlines()
    for line in (
        'fcn_tf_requests_total{path="/v1/segment",status="200"} 2',
        'fcn_tf_requests_total{path="/v1/segment",status="429"} 1',
        'fcn_tf_request_seconds_sum{path="/v1/segment"} 2.0',
        'fcn_tf_request_seconds_count{path="/v1/segment"} 3',
        "fcn_tf_queue_length 4",
        "fcn_tf_requests_open 7",
        'fcn_tf_batch_size_bucket{le="1"} 1',
        'fcn_tf_batch_size_bucket{le="2"} 1',
        'fcn_tf_batch_size_bucket{le="4"} 2',
        'fcn_tf_batch_size_bucket{le="8"} 3',
        'fcn_tf_batch_size_bucket{le="+Inf"} 3',
        "fcn_tf_batch_size_sum 12",
        "fcn_tf_batch_size_count 3",
        "fcn_tf_model_seconds_total 1.5",
    ):
        assert line in lines
    assert all(line.startswith("# ") or re.fullmatch(_SAMPLE, line) for line in lines) and text.endswith("\n")
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types)) and types == [line.split()[2] for line in lines if line.startswith("# HELP")]


def test_nothing_counted_yet_is_valid_too():
    lines = Counters().text(queue_length=0, requests_open=0).splitlines()
    assert all(line.startswith("# ") or re.fullmatch(_SAMPLE, line) for line in lines)
