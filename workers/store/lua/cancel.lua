-- Cancels one job: at once where it waits; where it runs, its worker is told.
-- Uses library: lists, accepting, ending
-- KEYS[1] queue key
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] id  ARGV[3] arq's result  ARGV[4] its life (ms; 0: not kept)
-- ARGV[5] retention of the record (ms)  ARGV[6] the version that the record must have; '': any
-- Returns 'cancelled'; 'asked': it runs, and its worker was told; 'finished': it had ended; 'unknown': no such job;
--   'changed': the record has another version

local now, id, retention = clock(ARGV[1]), ARGV[2], ARGV[5]
local r = redis.call('HMGET', RECORD .. id, 'state', 'version', 'attempt', 'token', 'kind', 'queue', 'tenant', 'created_ms',
  'extras')
local state, kind, queue, tenant = r[1], r[5], r[6], r[7] or DEFAULT_TENANT
if not state then return 'unknown' end
if ARGV[6] ~= '' and ARGV[6] ~= r[2] then return 'changed' end
if not may_move(state, 'cancelled') then return 'finished' end
if state == 'running' then
  redis.call('HSETNX', RECORD .. id, 'cancel_ms', now)
  redis.call('HSET', RECORD .. id, 'version', r[2] + 1)
  redis.call('PUBLISH', 'job-cancel', r[4] .. ' ' .. id)
  return 'asked'
end
local envelope = redis.call('GET', ENVELOPE .. id)
redis.call('HSET', RECORD .. id, 'state', 'cancelled', 'finished_ms', now, 'cancel_ms', now, 'version', r[2] + 1)
if envelope then redis.call('HSET', RECORD .. id, 'envelope', envelope) end
redis.call('DEL', ENVELOPE .. id)
redis.call('ZREM', KEYS[1], id)
redis.call('ZREM', ABORT, id)
if tonumber(ARGV[4]) > 0 then redis.call('SET', RESULT .. id, ARGV[3], 'PX', ARGV[4]) end
add_event(tenant, id, 'cancelled', r[3] or 0)
leave_list(state, tenant, queue, kind, id)
join_list('cancelled', tenant, queue, kind, r[8], id, retention)
expire(id, retention)
if r[9] then end_extras(id, tenant, kind, 'cancelled', now, retention) end
write_accepted()
write_all(now)
return 'cancelled'
