-- Replaces the envelopes of waiting jobs, each only if it has not changed since it was read. Keeps their time to live.
-- A job with a lease is left alone: the worker that claimed it may be about to read its envelope, or has read it.
-- ARGV[1] now (ms; not used)  ARGV[2] 1: dry run
-- then for each job: id, envelope that was read, new envelope
-- Returns for each job: 'replaced'; 'running'; or 'changed': the envelope is a different one now, or gone

local answer = {}

local function replace(id, old, new)
  if redis.call('EXISTS', LEASE .. id) == 1 then return 'running' end
  if redis.call('GET', ENVELOPE .. id) ~= old then return 'changed' end
  if ARGV[2] ~= '1' then redis.call('SET', ENVELOPE .. id, new, 'KEEPTTL') end
  return 'replaced'
end

for i = 3, #ARGV, 3 do answer[#answer + 1] = replace(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return answer
