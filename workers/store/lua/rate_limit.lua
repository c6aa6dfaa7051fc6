-- Counts requests against rate limits. A bucket holds `burst` requests and gains one per interval. Its string holds the
-- time at which it is full again, and expires then. Source: the generic cell rate algorithm, ITU-T I.371.
-- ARGV[1] now (ms, 0: the server's clock)
-- then for each request: bucket, interval (µs), burst
-- Returns for each request: 1 if admitted, else 0; requests left in the bucket; ms until it gains the next one

local now, answer = clock(ARGV[1]) * 1000, {}
for i = 2, #ARGV, 3 do
  local key, interval, burst = 'rate-limit:' .. ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local full = tonumber(redis.call('GET', key) or now)
  -- No valid time is later than that of a bucket just emptied: the limit was changed, or the clock was set back.
  full = math.max(now, math.min(full, now + burst * interval))
  local admitted = full + interval - burst * interval <= now
  if admitted then
    full = full + interval
    redis.call('SET', key, full, 'PX', math.ceil((full - now) / 1000))
  end
  local left = math.floor((now + burst * interval - full) / interval)
  local gains_at = full - (burst - left - 1) * interval
  local at = #answer
  answer[at + 1], answer[at + 2], answer[at + 3] = admitted and 1 or 0, left, math.ceil((gains_at - now) / 1000)
end
return answer
