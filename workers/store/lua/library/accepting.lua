-- Creates jobs: the record, the envelope, and the entries in the queue and in the job's list. Requires `lists`.

local BATCH, BATCH_JOBS, UNIQUE, TAGS = 'batch:', 'batch-jobs:', 'unique:', 'tag:'
local envelopes, entries = {}, {} -- collected from all jobs and written by one command at the end of the script

local function unique_name(tenant, kind, key)
  return UNIQUE .. tenant .. ':' .. kind .. ':' .. key
end

-- Returns the id of the job that holds a unique key: a job that is not final. If its job is gone, the key is free.
local function holder_of(name)
  local holder = redis.call('GET', name)
  local state = holder and redis.call('HGET', RECORD .. holder, 'state')
  return state and next(MOVES[state]) ~= nil and holder or nil
end

-- Writes optional parts. more: batch, tags (list), unique_key, deadline_ms, callback_url, retry_of.
local function add_extras(id, tenant, kind, more, now)
  local fields = { 'extras', 1 }
  for _, name in ipairs({ 'batch', 'unique_key', 'deadline_ms', 'callback_url', 'retry_of' }) do
    if more[name] then
      fields[#fields + 1], fields[#fields + 2] = name, more[name]
    end
  end
  if more.tags then
    fields[#fields + 1], fields[#fields + 2] = 'tags', cjson.encode(more.tags)
    for _, tag in ipairs(more.tags) do redis.call('ZADD', TAGS .. tenant .. ':' .. tag, now, id) end
  end
  redis.call('HSET', RECORD .. id, unpack(fields))
  if more.unique_key then redis.call('SET', unique_name(tenant, kind, more.unique_key), id) end
end

local moment_id

-- Returns an event id for feed lines whose event is in no job's stream.
local function now_id(now)
  moment_id = moment_id or string.format('%d-0', now)
  return moment_id
end

-- max_attempts: '' if only the job's worker knows it; more: as for add_extras, or nil.
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
  local n, entry = #envelopes, entries[queue_key]
  envelopes[n + 1], envelopes[n + 2] = ENVELOPE .. id, envelope
  if not entry then
    entry = { queue = queue, due = 0 }
    entries[queue_key] = entry
  end
  entry[#entry + 1], entry[#entry + 2] = due, id
  if state == 'queued' then entry.due = entry.due + 1 end
  local list = list_of(state, tenant, queue, kind)
  join(list, now, id)
  if not list.named then name_live_list(tenant, queue, kind) end
  list.named = true
  add_to_feed(tenant, id, now_id(now), state, '0')
end

-- Called once, before write_all, by every script that may have accepted jobs.
local function write_accepted()
  for i = 1, #envelopes, 1000 do redis.call('MSET', unpack(envelopes, i, math.min(i + 999, #envelopes))) end
  for queue_key, entry in pairs(entries) do
    call_with_many('ZADD', queue_key, entry)
    count(entry.queue, 'submitted', #entry / 2)
    if entry.due > 0 then wake(queue_key, entry.due) end
  end
end
