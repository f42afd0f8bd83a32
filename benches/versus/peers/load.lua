-- What wrk measured, in exact numbers on one line; times in microseconds.
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    "versus requests=%d duration=%d bytes=%d p50=%d p99=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
