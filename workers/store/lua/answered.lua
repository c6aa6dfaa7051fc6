-- Keeps the answer to the first request with an idempotency key, for those who ask again. A key whose life is over stays so.
-- ARGV[1] now (ms; not used)  ARGV[2] key  ARGV[3] id of what the request made  ARGV[4] answer
-- Returns 1, or 0: the key is gone, or another request's

local key = 'idempotency:' .. ARGV[2]
if redis.call('HGET', key, 'id') ~= ARGV[3] then return 0 end
redis.call('HSET', key, 'answer', ARGV[4])
return 1
