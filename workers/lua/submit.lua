-- Accepts jobs: record, envelope and place in the queue, at once or not at all for each job.
-- ARGV[1] now (ms, 0: the server's clock)
-- then for each job: id, kind, queue name, queue key, run at (ms; 0: not given), delay (ms), max attempts, envelope
-- Returns {now, then for each job: its due time (ms), or 0: duplicate, an accepted job has this id}

local now = clock(ARGV[1])
local answer, woken = { now }, {}
for i = 2, #ARGV, 8 do
  local id, queue = ARGV[i], ARGV[i + 3]
  if redis.call('EXISTS', RECORD .. id, ENVELOPE .. id, RESULT .. id) > 0 then
    answer[#answer + 1] = 0
  else
    local at = tonumber(ARGV[i + 4])
    local due = at > 0 and at or now + tonumber(ARGV[i + 5])
    redis.call('HSET', RECORD .. id, 'kind', ARGV[i + 1], 'queue', ARGV[i + 2], 'state',
      due > now and 'scheduled' or 'queued', 'max_attempts', ARGV[i + 6], 'created_ms', now, 'due_ms', due, 'version', 1)
    redis.call('SET', ENVELOPE .. id, ARGV[i + 7])
    redis.call('ZADD', queue, due, id)
    if due <= now then woken[queue] = (woken[queue] or 0) + 1 end
    answer[#answer + 1] = due
  end
end
for queue, jobs in pairs(woken) do wake(queue, jobs) end
return answer
