-- Revokes an API key, so that it can no longer be used. It is kept for a while, since logs refer to it.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] id  ARGV[3] how long it is kept (ms)
-- Returns 'revoked'; 'before': it was already revoked; 'unknown': there is no such key

local now, key = clock(ARGV[1]), 'api-key:' .. ARGV[2]
if redis.call('EXISTS', key) == 0 then return 'unknown' end
if redis.call('HSETNX', key, 'revoked_ms', now) == 0 then return 'before' end
redis.call('PEXPIRE', key, ARGV[3])
return 'revoked'
