-- Gives allowance back: `units` is a table buyer -> units that left held and confirmed.
local function give_allowance_back(buyers_key, units)
  for buyer, quantity in pairs(units) do
    if call('HINCRBY', buyers_key, buyer, -quantity) <= 0 then
      call('HDEL', buyers_key, buyer)
    end
  end
end
