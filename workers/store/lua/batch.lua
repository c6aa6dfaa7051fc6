-- Reads a snapshot of a batch.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] batch id
-- Returns {tenant, created (ms), total, finished (ms) or '', version, then the numbers of its jobs that are scheduled,
--   queued, running, retrying, succeeded, failed, cancelled}; or {}: there is no such batch

local STATES = { 'scheduled', 'queued', 'running', 'retrying' }
local b = redis.call('HMGET', 'batch:' .. ARGV[2], 'tenant', 'created_ms', 'total', 'finished_ms', 'version', 'succeeded',
  'failed', 'cancelled')
if not b[1] then return {} end
local found = {}
if not b[4] then
  for _, id in ipairs(redis.call('ZRANGE', 'batch-jobs:' .. ARGV[2], 0, -1)) do
    local state = redis.call('HGET', RECORD .. id, 'state')
    if state then found[state] = (found[state] or 0) + 1 end
  end
end
local answer = { b[1], b[2], b[3], b[4] or '', b[5] }
for _, state in ipairs(STATES) do answer[#answer + 1] = found[state] or 0 end
for i = 6, 8 do answer[#answer + 1] = tonumber(b[i] or 0) end
return answer
