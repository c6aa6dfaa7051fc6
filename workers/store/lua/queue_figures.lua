-- Reads snapshots of queues.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] past minutes to count, in addition to the current one
-- then for each queue: name, key
-- Returns {now, then for each queue: due jobs, all jobs, when the first became due (ms; -1: none is due), running jobs,
--   paused since (ms; -1: not paused), then counts of the past and current minutes: submitted, started, succeeded,
--   failed, cancelled, retrying}

local FIGURES = { 'submitted', 'started', 'succeeded', 'failed', 'cancelled', 'retrying' }
local now, minutes = clock(ARGV[1]), tonumber(ARGV[2])
local answer, minute = { now }, math.floor(now / 60000)

local function add_rates(name)
  local sums = { 0, 0, 0, 0, 0, 0 }
  for m = minute - minutes, minute do
    local figures = redis.call('HMGET', string.format('queue-rates:%d:%s', m, name), unpack(FIGURES))
    for i = 1, #FIGURES do sums[i] = sums[i] + tonumber(figures[i] or 0) end
  end
  for i = 1, #FIGURES do answer[#answer + 1] = sums[i] end
end

for i = 3, #ARGV, 2 do
  local name, key = ARGV[i], ARGV[i + 1]
  local first = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
  answer[#answer + 1] = redis.call('ZCOUNT', key, '-inf', now)
  answer[#answer + 1] = redis.call('ZCARD', key)
  answer[#answer + 1] = first[2] or -1
  answer[#answer + 1] = tonumber(redis.call('HGET', 'running-jobs', name) or 0)
  answer[#answer + 1] = redis.call('HGET', 'paused-queues', name) or -1
  add_rates(name)
end
return answer
