-- wrk -s wrk-load.lua URL -- get|set KEYS VALUE_BYTES: a random key in each request, one line of JSON at the end.
-- All requests are made beforehand, so that the generator does not become what is measured.
local requests, count = {}, 0
local first_key = "bench:00000000"

function init(args)
  local method, keys, value = args[1], tonumber(args[2]), string.rep("v", tonumber(args[3]))
  math.randomseed(os.time())
  local template
  if method == "get" then
    template = wrk.format("GET", "/get/" .. first_key)
  else
    template = wrk.format("POST", "/set/" .. first_key, { ["Host"] = wrk.headers["Host"], ["Content-Type"] = "text/plain" }, value)
  end
  -- One is made and only its key changed: to make each from its parts would take a minute for millions.
  local from, to = string.find(template, first_key, 1, true)
  local before, after = string.sub(template, 1, from - 1), string.sub(template, to + 1)
  for i = 0, keys - 1 do
    requests[i] = before .. string.format("bench:%08d", i) .. after
  end
  count = keys
end

function request()
  return requests[math.random(0, count - 1)]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests":%d,"seconds":%.6f,"p50Ms":%.4f,"p99Ms":%.4f,"maxMs":%.4f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
