-- Writes the envelopes of waiting jobs anew, each only if it is still the one that was read. Keeps their time to live.
-- A job with a lease is left alone: whoever claimed it may be about to read its envelope, or has read it.
-- ARGV[1] 1: only tell what would be done  then for each job: id, envelope that was read, new envelope
-- Returns for each job: 'replaced', 'running' or 'changed': it is another envelope now, or none

local answer = {}

local function replace(id, old, new)
  if redis.call('EXISTS', LEASE .. id) == 1 then return 'running' end
  if redis.call('GET', ENVELOPE .. id) ~= old then return 'changed' end
  if ARGV[1] ~= '1' then redis.call('SET', ENVELOPE .. id, new, 'KEEPTTL') end
  return 'replaced'
end

for i = 2, #ARGV, 3 do answer[#answer + 1] = replace(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return answer
