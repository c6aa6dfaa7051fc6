-- Submits a final job again as a new job with the same kind, queue, batch, tags, unique key and callback.
-- Uses library: lists, accepting, ending
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] id  ARGV[3] the new job's id, ignored for a job in a batch
-- ARGV[4] required tenant of the job; '': any  ARGV[5] envelope; '': the job's own  ARGV[6] delay (ms)
-- ARGV[7] required version of the record; '': any
-- then names of a record's fields
-- Returns {'accepted', the new job's id, the values of its record's fields}; or
--   {'unknown'}: the tenant has no such job; {'live'}: it is not final; {'changed'}: the version differs;
--   {'retried', id}: it was already retried as that job; {'unique', id}: that job holds its unique key; {'gone'}: its
--   envelope was not kept; {'duplicate'}: an accepted job has the new id

local now, id, new = clock(ARGV[1]), ARGV[2], ARGV[3]
local r = redis.call('HMGET', RECORD .. id, 'state', 'version', 'tenant', 'retried_as', 'kind', 'queue', 'max_attempts',
  'envelope', 'batch', 'tags', 'unique_key', 'callback_url', 'failure')
local state, tenant, kind, queue, batch = r[1], r[3] or DEFAULT_TENANT, r[5], r[6], r[9]
if not state or ARGV[4] ~= '' and ARGV[4] ~= tenant then return { 'unknown' } end
if next(MOVES[state]) ~= nil then return { 'live' } end
if ARGV[7] ~= '' and ARGV[7] ~= r[2] then return { 'changed' } end
if r[4] then return { 'retried', r[4] } end
local envelope = ARGV[5] ~= '' and ARGV[5] or r[8]
if not envelope then return { 'gone' } end
if batch then -- '{batch}.{place}', then '{batch}.{place}.r1', '.r2' and so on; the id tells which batch a job is in
  local place, number = string.match(id, '^(.*)%.r(%d+)$')
  new = (place or id) .. '.r' .. (tonumber(number or 0) + 1)
end
if redis.call('EXISTS', RECORD .. new, ENVELOPE .. new) > 0 then return { 'duplicate' } end
local holder = r[11] and holder_of(unique_name(tenant, kind, r[11]))
if holder then return { 'unique', holder } end

local function leave_batch()
  local key = BATCH .. batch
  if redis.call('EXISTS', key) == 0 then return end
  redis.call('HINCRBY', key, state, -1)
  redis.call('HINCRBY', key, 'live', 1)
  redis.call('HINCRBY', key, 'version', 1)
  redis.call('HDEL', key, 'finished_ms')
  redis.call('PERSIST', key)
  redis.call('PERSIST', BATCH_JOBS .. batch)
  redis.call('ZADD', BATCH_JOBS .. batch, redis.call('ZSCORE', BATCH_JOBS .. batch, id) or 0, new)
  redis.call('ZREM', BATCH_JOBS .. batch, id)
end

local function leave_dead()
  local fingerprint = r[13] and string.match(r[13], '"fingerprint": "(%x+)"')
  if not fingerprint then return end
  redis.call('ZREM', DEAD .. tenant .. ':' .. fingerprint, id)
  if redis.call('EXISTS', DEAD .. tenant .. ':' .. fingerprint) == 0 then
    redis.call('ZREM', DEAD_GROUPS .. tenant, fingerprint)
  end
end

accept(now, new, tenant, kind, queue, key_of_queue(queue), now + ARGV[6], r[7] or '', envelope, { retry_of = id, batch = batch or nil,
  tags = r[10] and cjson.decode(r[10]) or nil, unique_key = r[11] or nil, callback_url = r[12] or nil })
redis.call('HSET', RECORD .. id, 'retried_as', new, 'version', r[2] + 1)
leave_dead()
if batch then leave_batch() end
write_accepted()
write_all(now)
return { 'accepted', new, unpack(redis.call('HMGET', RECORD .. new, unpack(ARGV, 8))) }
