-- Cancels a job: at once if it is waiting; if it is running, its worker is notified.
-- Uses library: lists, accepting, ending
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] id  ARGV[3] required tenant of the job; '': any
-- ARGV[4] required version of the record; '': any  ARGV[5] retention of the record (ms)
-- ARGV[6] life of arq's result (ms; 0: not kept)  ARGV[7] JSON: the result of a cancelled job for stock arq clients
-- then names of the record's fields
-- Returns {'cancelled', the values of these fields afterwards}; {'asked', the values}: it is running, and its worker
--   was notified; {'finished'}: it has ended; {'unknown'}: the tenant has no such job; {'changed'}: the version differs

local now, id, retention = clock(ARGV[1]), ARGV[2], ARGV[5]
local r = redis.call('HMGET', RECORD .. id, 'state', 'version', 'attempt', 'token', 'kind', 'queue', 'tenant', 'created_ms',
  'extras', 'started_ms')
local state, kind, queue, tenant = r[1], r[5], r[6], r[7] or DEFAULT_TENANT
if not state or ARGV[3] ~= '' and ARGV[3] ~= tenant then return { 'unknown' } end
if ARGV[4] ~= '' and ARGV[4] ~= r[2] then return { 'changed' } end
if not may_move(state, 'cancelled') then return { 'finished' } end

local function answer(what)
  return { what, unpack(redis.call('HMGET', RECORD .. id, unpack(ARGV, 8))) }
end

if state == 'running' then
  redis.call('HSETNX', RECORD .. id, 'cancel_ms', now)
  redis.call('HSET', RECORD .. id, 'version', r[2] + 1)
  redis.call('PUBLISH', 'job-cancel', r[4] .. ' ' .. id)
  return answer('asked')
end

-- Writes the same fields as `workers.contract.envelope`.
local function keep_arq_result()
  local result = string.format(
    '{"t":%d,"f":%s,"q":%s,"id":%s,"et":%d,"st":%d,"ft":%d,"a":[],"k":{},"s":false,"r":%s}',
    r[3] or 0, cjson.encode(kind), cjson.encode(key_of_queue(queue)), cjson.encode(id), r[8], r[10] or now, now, ARGV[7])
  redis.call('SET', RESULT .. id, result, 'PX', ARGV[6])
end

local envelope = redis.call('GET', ENVELOPE .. id)
redis.call('HSET', RECORD .. id, 'state', 'cancelled', 'finished_ms', now, 'cancel_ms', now, 'version', r[2] + 1)
if envelope then redis.call('HSET', RECORD .. id, 'envelope', envelope) end
redis.call('DEL', ENVELOPE .. id)
redis.call('ZREM', key_of_queue(queue), id)
if has_aborts() then redis.call('ZREM', ABORT, id) end
if tonumber(ARGV[6]) > 0 then keep_arq_result() end
add_event(tenant, id, 'cancelled', r[3] or 0)
leave_list(state, tenant, queue, kind, id)
join_list('cancelled', tenant, queue, kind, r[8], id, retention)
expire(id, retention)
if r[9] then end_extras(id, tenant, kind, 'cancelled', now, retention) end
write_accepted()
write_all(now)
return answer('cancelled')
