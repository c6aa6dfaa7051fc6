-- Makes the jobs of a dead worker due at once; the claim that takes one counts it as a rescue. A job that another
-- worker has claimed in the meantime names that worker and is left alone. Examines one portion of the queue's running
-- jobs.
-- KEYS[1] queue key
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] the dead worker's lease (ms)  ARGV[3] its id
-- ARGV[4] ids to skip: those that earlier portions examined and left in place  ARGV[5] ids to examine
-- Returns {number of jobs made due, ids that the next portion has to skip (-1: all were examined)}

local queue, now, worker = KEYS[1], clock(ARGV[1]), ARGV[3]
local skip, want = tonumber(ARGV[4]), tonumber(ARGV[5])
local due, leases = {}, {}

-- The score of a running job is the end of its lease. A few jobs scheduled for the same time may be among them.
local ids = redis.call('ZRANGEBYSCORE', queue, string.format('(%d', now), now + ARGV[2], 'LIMIT', skip, want)
for _, id in ipairs(ids) do
  local r = redis.call('HMGET', RECORD .. id, 'state', 'worker')
  if r[1] == 'running' and r[2] == worker then
    due[#due + 1], due[#due + 2] = now, id
    leases[#leases + 1] = LEASE .. id
  end
end

call_with_many('ZADD', queue, due)
for _, lease in ipairs(leases) do redis.call('DEL', lease) end
if #leases > 0 then wake(queue, #leases) end
return { #leases, #ids < want and -1 or skip + #ids - #leases }
