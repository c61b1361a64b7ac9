-- One reservation per request, each by another buyer under another Idempotency-Key.
-- Arguments after `--`: pool, tag (unique per run), items per call (1 = the single endpoint),
-- API key, path (empty: the reservation endpoint). The last line printed is the summary as JSON.
local threads = {}

function setup(thread)
  thread:set("thread_number", #threads)
  threads[#threads + 1] = thread
end

function init(arguments)
  pool, tag, items_per_call = arguments[1], arguments[2], tonumber(arguments[3])
  path = arguments[5] or ""
  if path == "" then
    path = items_per_call == 1 and "/v1/reservations" or "/v1/reservations/batch"
  end
  -- Into any open group.
  match = path == "/v1/groups" and ',"match":true' or ""
  prefix = tag .. "-" .. thread_number .. "-"
  counter = 0
  items_refused = 0
  if items_per_call > 1 then
    -- A lane that is full, or a writer too far behind, turns items away inside an answer of 200.
    function response(_, _, body)
      local _, found = string.gsub(body, '"status":503', "")
      items_refused = items_refused + found
    end
  end
  headers = {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer " .. arguments[4],
  }
end

local function one()
  counter = counter + 1
  local key = prefix .. counter
  headers["Idempotency-Key"] = key
  local body = '{"pool":"' .. pool .. '","buyer":"b-' .. key .. '","quantity":1' .. match .. '}'
  return wrk.format("POST", path, headers, body)
end

local function many()
  local items = {}
  for i = 1, items_per_call do
    counter = counter + 1
    local key = prefix .. counter
    items[i] = '{"idempotency_key":"' .. key .. '","pool":"' .. pool .. '","buyer":"b-' .. key
      .. '","quantity":1}'
  end
  local body = '{"items":[' .. table.concat(items, ",") .. "]}"
  return wrk.format("POST", path, headers, body)
end

function request()
  if items_per_call == 1 then
    return one()
  end
  return many()
end

function done(summary, latency)
  local errors = summary.errors
  local refused = 0
  for _, thread in ipairs(threads) do
    refused = refused + thread:get("items_refused")
  end
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"refused":%d,"items_refused":%d,"socket_errors":%d,'
      .. '"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, errors.status, refused,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
