-- Ends jobs that have a batch, tags, a unique key, a callback or steps. Requires `lists` and `accepting`.

-- Adds a failed job to the group of dead letters with its fingerprint, for as long as its record is kept.
local function bury(tenant, id, fingerprint, now, retention)
  join(list_at(DEAD .. tenant .. ':' .. fingerprint), now, id, retention)
  redis.call('ZADD', DEAD_GROUPS .. tenant, now, fingerprint)
  keep_for(DEAD_GROUPS .. tenant, retention)
end

local function batch_figures(batch)
  local b = redis.call('HMGET', BATCH .. batch, 'succeeded', 'failed', 'cancelled', 'total')
  return string.format('{"succeeded":%d,"failed":%d,"cancelled":%d,"total":%d}', b[1] or 0, b[2] or 0, b[3] or 0, b[4] or 0)
end

local function count_in_batch(batch, tenant, state, now, retention)
  local key = BATCH .. batch
  if redis.call('EXISTS', key) == 0 then return end
  redis.call('HINCRBY', key, state, 1)
  redis.call('HINCRBY', key, 'version', 1)
  if redis.call('HINCRBY', key, 'live', -1) > 0 then return end
  redis.call('HSET', key, 'finished_ms', now)
  redis.call('PEXPIRE', key, retention)
  redis.call('PEXPIRE', BATCH_JOBS .. batch, retention)
  add_to_feed(tenant, batch, now_id(now), 'finished', 0, batch_figures(batch))
end

local function call_back(id, tenant, now)
  local hook, queue = id .. '.webhook', QUEUE_OF_WEBHOOKS
  if redis.call('EXISTS', RECORD .. hook) == 1 then return end
  local envelope = string.format('{"t":null,"f":"webhook.deliver","a":[{"job_id":"%s"}],"k":{},"et":%d}', id, now)
  accept(now, hook, tenant, 'webhook.deliver', queue, 'arq:queue:' .. queue, now, '', envelope)
end

-- Called if the record has `extras`.
local function end_extras(id, tenant, kind, state, now, retention)
  local r = redis.call('HMGET', RECORD .. id, 'batch', 'unique_key', 'callback_url', 'steps', 'tags', 'created_ms')
  if r[2] then
    local name = unique_name(tenant, kind, r[2])
    if redis.call('GET', name) == id then redis.call('DEL', name) end
  end
  for _, tag in ipairs(r[5] and cjson.decode(r[5]) or {}) do
    redis.call('ZREM', TAGS .. tenant .. ':' .. tag, id)
    join(list_at(ENDED_TAGS .. tenant .. ':' .. tag), r[6], id, retention)
  end
  if r[1] then count_in_batch(r[1], tenant, state, now, retention) end
  if r[3] then call_back(id, tenant, now) end
  if r[4] then redis.call('PEXPIRE', STEPS .. id, retention) end
end
