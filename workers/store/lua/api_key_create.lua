-- Creates an API key, optionally only if there is no usable one.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] id  ARGV[3] how long it is usable (ms; 0: until it is revoked)
-- ARGV[4] how long a key is kept after its end (ms)  ARGV[5] 1: only if no usable key exists
-- then field, value of the key's hash
-- Returns when it was created (ms); 0: not created, since a usable key exists

local now, key, life, index = clock(ARGV[1]), 'api-key:' .. ARGV[2], tonumber(ARGV[3]), 'api-keys'

local function can_be_used(id)
  local k = redis.call('HMGET', 'api-key:' .. id, 'digest', 'revoked_ms', 'expires_ms')
  return k[1] and not k[2] and (not k[3] or tonumber(k[3]) > now)
end

if redis.call('EXISTS', key) > 0 then return redis.error_reply('ERR there is an API key of this id') end
if ARGV[5] == '1' then
  for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if can_be_used(id) then return 0 end
  end
end
redis.call('HSET', key, 'created_ms', now, unpack(ARGV, 6))
if life > 0 then
  redis.call('HSET', key, 'expires_ms', now + life)
  redis.call('PEXPIREAT', key, now + life + tonumber(ARGV[4]))
end
redis.call('ZADD', index, now, ARGV[2])
return now
