-- Makes a new job: record, envelope, place in the queue and in its list. Needs the library `lists`.

local BATCH, BATCH_JOBS, UNIQUE, TAGS, TAG_NAMES = 'batch:', 'batch-jobs:', 'unique:', 'tag:', 'tags:'
local woken = {}

local function unique_name(tenant, kind, key)
  return UNIQUE .. tenant .. ':' .. kind .. ':' .. key
end

-- Returns the id of the job that holds a unique key: one that is not final. A key whose job is gone is free.
local function holder_of(name)
  local holder = redis.call('GET', name)
  local state = holder and redis.call('HGET', RECORD .. holder, 'state')
  return state and next(MOVES[state]) ~= nil and holder or nil
end

-- What most jobs lack. more: batch, tags (list), unique_key, deadline_ms, callback_url, retry_of.
local function add_extras(id, tenant, kind, more, now)
  local fields = { 'extras', 1 }
  for _, name in ipairs({ 'batch', 'unique_key', 'deadline_ms', 'callback_url', 'retry_of' }) do
    if more[name] then
      fields[#fields + 1], fields[#fields + 2] = name, more[name]
    end
  end
  if more.tags then
    fields[#fields + 1], fields[#fields + 2] = 'tags', cjson.encode(more.tags)
    for _, tag in ipairs(more.tags) do
      redis.call('ZADD', TAGS .. tenant .. ':' .. tag, now, id)
      redis.call('SADD', TAG_NAMES .. tenant, tag)
    end
  end
  redis.call('HSET', RECORD .. id, unpack(fields))
  if more.unique_key then redis.call('SET', unique_name(tenant, kind, more.unique_key), id) end
end

-- max_attempts: '' where only its worker knows; more: as for add_extras, or nil.
local function accept(now, id, tenant, kind, queue, queue_key, due, max_attempts, envelope, more)
  local record, state = RECORD .. id, due > now and 'scheduled' or 'queued'
  if max_attempts == '' then
    redis.call('HSET', record, 'kind', kind, 'queue', queue, 'state', state, 'created_ms', now, 'due_ms', due, 'version', 1)
  else
    redis.call('HSET', record, 'kind', kind, 'queue', queue, 'state', state, 'max_attempts', max_attempts, 'created_ms',
      now, 'due_ms', due, 'version', 1)
  end
  if tenant ~= DEFAULT_TENANT then redis.call('HSET', record, 'tenant', tenant) end
  if more then add_extras(id, tenant, kind, more, now) end
  redis.call('SET', ENVELOPE .. id, envelope)
  redis.call('ZADD', queue_key, due, id)
  if state == 'queued' then woken[queue_key] = (woken[queue_key] or 0) + 1 end
  join_list(state, tenant, queue, kind, now, id)
  count(queue, 'submitted', 1)
  tell(tenant, id, now .. '-0', state, '0')
end

local function wake_workers()
  for queue, jobs in pairs(woken) do wake(queue, jobs) end
end
