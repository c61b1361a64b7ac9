#!lua
--[[ return_sale: units of a sale come back, to be sold again or not, once per command.
KEYS  1 shard_meta   2 shard_log   3 pool   4 reservations   5 buyers   6 command   7 groups
ARGV  1 pool_id   2 digest   3 quantity (0: all that are left)   4 command_digest
      5 restock (1: they can be sold again; 0: they leave the pool)
RETURNS {status, now_ms, position, record}
      0 RETURNED   1 REPLAYED   2 UNKNOWN   3 NOT_CONFIRMED   4 ALREADY_RETURNED   5 TOO_MANY
      6 MISMATCH   7 NOT_FORMED   -1 FENCED
WHY   a return may be partial and come in several parts, so each part is a command of its own. Of a
      seat whose group has not formed nothing is returned: it is cancelled instead. ]]
--#include shard
--#include record
--#include buyers

local packed, record = find_record(KEYS[4], ARGV[1], ARGV[2])
if not packed then
  return { 2, now, position() }
end
local restock = ARGV[5] == '1'
local command = 'return\t' .. ARGV[2] .. '\t' .. ARGV[3] .. (restock and '' or '\tout')
local earlier = call('GET', KEYS[6])
if earlier then
  return { earlier == command and 1 or 6, now, position(), packed }
end
local group = is_seat(record) and call('HGET', KEYS[7], string.sub(record.cart, 3))
local formed = not group or string.sub(group, 1, 1) == 'f' -- one that is forgotten had formed
if (record.state == 'c' or record.state == 'p') and not formed then
  return { 7, now, position(), packed }
elseif record.state == 'r' then
  return { 4, now, position(), packed }
elseif record.state ~= 'c' then
  return { 3, now, position(), packed }
end
local payment_ref, order_index, returned = string.match(record.payment, '^(.*)\t(%d+)\t(%d+)$')
local left = record.quantity - tonumber(returned)
local quantity = tonumber(ARGV[3])
if quantity == 0 then
  quantity = left
elseif quantity > left then
  return { 5, now, position(), packed }
end

returned = text(record.quantity - left + quantity)
local complete = quantity == left
packed = pack_record(complete and 'r' or 'c', record.deadline_ms, record,
  payment_ref .. '\t' .. order_index .. '\t' .. returned)
call('HSET', KEYS[4], ARGV[2], packed)
call('HINCRBY', KEYS[3], 'sold', -quantity)
call('HINCRBY', KEYS[3], restock and 'available' or 'total', restock and quantity or -quantity)
give_allowance_back(KEYS[5], { [record.buyer] = quantity })
call('SET', KEYS[6], command, 'PX', RETENTION_MS)
append('returned', 1, ARGV[1],
  { ARGV[2], quantity, returned, (complete and 1 or 0) + (restock and 0 or 2), ARGV[4], ARGV[3] })
close_shard()
return { 0, now, position(), packed }
