-- Keeps the answer to the first request with an idempotency key, for those who ask again. A key whose life is over stays so.
-- ARGV[1] key  ARGV[2] id of what the request made  ARGV[3] answer
-- Returns 1, or 0: the key is gone, or another request's

local key = 'idempotency:' .. ARGV[1]
if redis.call('HGET', key, 'id') ~= ARGV[2] then return 0 end
redis.call('HSET', key, 'answer', ARGV[3])
return 1
