-- Stores the answer to the first request with an idempotency key, for repeated requests. Never revives an expired key.
-- ARGV[1] now (ms; not used)  ARGV[2] key  ARGV[3] id of the job or batch the request created  ARGV[4] answer
-- Returns 1; or 0: the key has expired, or belongs to another request

local key = 'idempotency:' .. ARGV[2]
if redis.call('HGET', key, 'id') ~= ARGV[3] then return 0 end
redis.call('HSET', key, 'answer', ARGV[4])
return 1
