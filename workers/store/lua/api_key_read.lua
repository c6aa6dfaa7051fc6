-- Reads API keys.
-- ARGV[1] now (ms, 0: the server's clock)
-- then ids
-- Returns {now, then for each id its hash as {field, value, ...}, empty if there is no such key}

local answer = { clock(ARGV[1]) }
for i = 2, #ARGV do answer[i] = redis.call('HGETALL', 'api-key:' .. ARGV[i]) end
return answer
