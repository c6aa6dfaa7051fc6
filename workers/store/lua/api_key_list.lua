-- Reads all API keys, and removes the ids of those that are no longer kept.
-- ARGV[1] now (ms, 0: the server's clock)
-- Returns {now, then for each key, oldest first: id, its hash as {field, value, ...}}

local answer, index = { clock(ARGV[1]) }, 'api-keys'
for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  local hash = redis.call('HGETALL', 'api-key:' .. id)
  if #hash > 0 then
    answer[#answer + 1], answer[#answer + 2] = id, hash
  else
    redis.call('ZREM', index, id)
  end
end
return answer
